"""What baselines see: a router's own account, by events alone."""

from dataclasses import replace

import pytest

from headway_core.events import (
    BlocksRemoved,
    BlocksStored,
    CacheCleared,
    Cancelled,
    Event,
    Failed,
    Finished,
    FirstToken,
    Scraped,
    Unreachable,
)
from headway_core.facts import EndpointState, EngineView, InferenceRequest
from headway_sim.views import Load, Views
from headway_sim.world.testing import a_fleet

POOL = a_fleet(["a", "b"], prefill_tokens_per_s=1000.0).pools[0]


def a_request(name: str, *blocks: int) -> InferenceRequest:
    return InferenceRequest(
        request_id=name,
        requested_model="m",
        prompt_tokens=100 * len(blocks) + 50,
        blocks=blocks,
        block_tokens=100,
    )


@pytest.mark.parametrize("end", [Finished("r"), Failed("r"), Cancelled("r")])
@pytest.mark.parametrize("has_token", [True, False])
def test_a_request_is_charged_until_its_end_however_it_ends(end: Event, has_token: bool) -> None:
    views = Views(POOL, sees_first_tokens=True)
    views.sent(a_request("r", 1, 2), "a", 0.0)
    load = views.load("a")
    assert (load.requests, load.prompt_tokens) == (1, 250)
    assert (load.pending_requests, load.pending_tokens) == (1, 250)
    if has_token:
        views.observe(FirstToken("r", "a"), 1.0)
        assert (load.requests, load.pending_requests, load.pending_tokens) == (1, 0, 0)
    for _ in range(2):  # A second end changes nothing.
        views.observe(end, 2.0)
        assert replace(load, ttft_s=None) == Load()


def test_a_hit_is_what_was_sent_there_before_and_pending_is_the_rest() -> None:
    views = Views(POOL, sees_first_tokens=True)
    views.sent(a_request("r", 1, 2, 3), "a", 0.0)
    again = a_request("s", 1, 2, 9)
    assert (views.hit_tokens("a", again), views.hit_tokens("b", again)) == (200, 0)
    views.sent(again, "a", 0.0)
    assert views.load("a").pending_tokens == 350 + 150
    assert views.load("a").pending_prompt_tokens == 700


def test_the_charge_follows_the_address_that_answered() -> None:
    views = Views(POOL, sees_first_tokens=True)
    views.sent(a_request("r", 1), "a", 0.0)
    views.observe(FirstToken("r", "b"), 1.0)
    assert (views.load("a").requests, views.load("b").requests) == (0, 1)
    views.observe(Finished("r"), 2.0)
    assert views.load("b") == Load()
    assert views.hit_tokens("b", a_request("s", 1)) == 100


def test_without_first_tokens_prefills_end_when_they_are_predicted_to() -> None:
    views = Views(POOL, sees_first_tokens=False)
    views.sent(a_request("r", 1), "a", 0.0)  # 150 tokens at 1,000/s
    views.sent(a_request("s", 9), "a", 0.1)  # 300 pending then
    assert views.next_expiry() == pytest.approx(0.15)
    views.expire(0.15)
    assert views.load("a").pending_tokens == 150
    assert views.next_expiry() == pytest.approx(0.4)
    views.observe(Finished("s"), 0.2)
    assert views.next_expiry() is None


def test_with_first_tokens_nothing_is_predicted() -> None:
    views = Views(POOL, sees_first_tokens=True)
    views.sent(a_request("r", 1), "a", 0.0)
    views.expire(1e9)
    assert views.next_expiry() is None
    assert views.load("a").pending_requests == 1


def test_cache_events_correct_what_was_sent() -> None:
    views, request = Views(POOL, sees_first_tokens=True), a_request("r", 1, 2)
    views.observe(BlocksStored("b", (1, 2), 100), 0.0)
    assert views.hit_tokens("b", request) == 200
    views.observe(BlocksRemoved("b", (2,)), 0.0)
    assert views.hit_tokens("b", request) == 100
    views.observe(CacheCleared("b"), 0.0)
    assert views.hit_tokens("b", request) == 0


def test_the_unreachable_get_nothing_until_they_are_read_again() -> None:
    views = Views(POOL, sees_first_tokens=True)
    views.sent(a_request("r", 1), "a", 0.0)
    views.observe(Unreachable("a"), 0.0)
    assert list(views.serving) == ["b"]
    assert views.hit_tokens("a", a_request("s", 1)) == 0
    views.observe(Unreachable("b"), 0.0)
    assert list(views.serving) == ["a", "b"]  # Nobody is left: not seeing must not stop traffic.
    views.observe(Scraped("b", EngineView(waiting=2)), 0.0)
    assert list(views.serving) == ["b"]
    assert views.engine("b").waiting == 2


def test_the_draining_and_the_gone_get_nothing_and_keep_what_is_in_flight() -> None:
    views = Views(POOL, sees_first_tokens=True)
    views.sent(a_request("r", 1), "a", 0.0)
    a, b = POOL.endpoints
    views.apply(replace(POOL, endpoints=(replace(a, state=EndpointState.DRAINING), b)))
    assert views.serving == ("b",)
    views.apply(replace(POOL, endpoints=(b,)))
    views.observe(FirstToken("r", "a"), 1.0)
    views.observe(Finished("r"), 1.0)
    views.apply(POOL)
    assert views.load("a").requests == 0
    assert views.hit_tokens("a", a_request("s", 1)) == 0


def test_what_is_about_nobody_known_changes_nothing() -> None:
    views = Views(POOL, sees_first_tokens=True)
    for event in (Finished("x"), FirstToken("x"), Unreachable("z"), CacheCleared("z")):
        views.observe(event, 0.0)
    assert views.serving == ("a", "b")
