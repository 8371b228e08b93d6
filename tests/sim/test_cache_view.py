"""A view of caches that is a copy: what is sent is seen after the next one."""

from random import Random

import pytest

from headway_core.events import Finished, FirstToken, Scraped
from headway_core.facts import EngineView, InferenceRequest
from headway_core.policy import Fleet
from headway_core.router import Router
from headway_core.testing import a_chain
from headway_sim.baselines.registry import BASELINES
from headway_sim.cache_view import CacheView, CopiedMirror
from headway_sim.pickers import Picker, ProductionPicker, Sent
from headway_sim.world.testing import a_fleet


def test_what_is_written_counts_after_the_next_copy() -> None:
    mirror = CopiedMirror()
    mirror.add("a", 10_000)
    mirror.record("a", (1, 2, 3), 100)
    assert mirror.hit_blocks("a", (1, 2, 3)) == 0
    mirror.copy()
    assert mirror.hit_blocks("a", (1, 2, 3)) == 3
    mirror.forget("a", (3,))
    mirror.clear("a")
    assert mirror.longest_run((1, 2, 3)) == 3
    mirror.copy()
    assert mirror.longest_run((1, 2, 3)) == 0


def test_who_is_gone_is_gone_at_once_with_what_was_not_seen_yet() -> None:
    mirror = CopiedMirror()
    for name in ("a", "b"):
        mirror.add(name, 10_000)
        mirror.record(name, (1, 2), 100)
    mirror.copy()
    mirror.record("a", (1, 2, 3), 100)
    mirror.remove("a")
    assert mirror.holders(1, 8) == ["b"]
    mirror.copy()
    mirror.add("a", 10_000)
    assert mirror.hit_blocks("a", (1, 2)) == 0


def test_copies_are_taken_at_multiples_of_the_period() -> None:
    view = CacheView(30.0)
    mirror = view.mirror()
    mirror.add("a", 10_000)
    view.look(31.0)
    mirror.record("a", (1,), 100)
    seen = []
    for now in (32.0, 59.9, 60.0):
        view.look(now)
        seen.append(mirror.hit_blocks("a", (1,)))
    assert seen == [0, 0, 1]


@pytest.mark.parametrize("policy", ["headway", "dualmap", "sglang"])
def test_a_picker_follows_what_has_come_into_its_view(policy: str) -> None:
    fleet = a_fleet(list("abcdefgh"), prefill_tokens_per_s=10_000.0)
    blocks = a_chain(7, 20)

    def where(nth: int, now: float) -> str:
        name = f"r{nth}"
        request = InferenceRequest(
            request_id=name, requested_model="", prompt_tokens=5200, blocks=blocks, block_tokens=256
        )
        (sent,) = [a for a in (seeing.place(request, now),) if isinstance(a, Sent)]
        seeing.observe(FirstToken(name, sent.endpoint_id), now + 0.6)
        seeing.observe(Finished(name), now + 0.7)
        return sent.endpoint_id

    view = CacheView(100.0)
    if policy == "headway":
        picker: Picker = ProductionPicker(Router(Random(1), view.mirror))
    else:
        picker = BASELINES[policy].picker(
            Random(1), sees_first_tokens=True, parameters={}, make_mirror=view.mirror
        )
    seeing = view.seen_by(picker)
    seeing.apply(Fleet(pools=fleet.pools), 0.0)
    for name in "abcdefgh":
        seeing.observe(Scraped(name, EngineView(waiting=0, running=0)), 0.0)
    first = where(0, 1.0)
    assert {where(nth, 101.0 + nth) for nth in range(1, 6)} == {first}
