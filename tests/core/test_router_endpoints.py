"""Endpoints that come, go, drain or cannot be reached."""

from collections import Counter
from collections.abc import Sequence

import pytest

from headway_core.affinity.warmup import WARMUP_S
from headway_core.events import (
    Cancelled,
    Finished,
    FirstToken,
    Scraped,
    Unreachable,
)
from headway_core.facts import EndpointState, EngineView, Slo
from headway_core.outcomes import Held, Outcome, Placed, Reason, Shed, ShedReason
from headway_core.policy import CandidateSet, Fleet, Policy, Pool
from headway_core.router import Router
from headway_core.testing import a_chain, a_pool, a_request, a_router, an_endpoint

SLO = Slo(ttft_s=5.0)


def chosen(outcome: Outcome) -> str:
    assert not isinstance(outcome, Shed)
    return outcome.decision.endpoint_id


def place_many(router: Router, count: int, now: float = 0.0) -> Counter[str]:
    """Short prompts and long ones of many prefixes."""
    blocks = [a_chain(i + 1, 6 if i % 2 else 0) for i in range(count)]
    return Counter(chosen(router.place(a_request(blocks=b), now)) for b in blocks)


def fill(router: Router, endpoint: str, now: float = 0.0) -> list[Outcome]:
    """Keep an endpoint busy with a long prompt, and two more held behind it."""
    prompts = [a_request(blocks=a_chain(900 + i, 60), allowed=[endpoint]) for i in range(3)]
    outcomes = [router.place(prompt, now) for prompt in prompts]
    assert [type(o) for o in outcomes] == [Placed, Held, Held]
    return outcomes


def draining(name: str) -> Pool:
    return a_pool(
        [
            an_endpoint(e, state=EndpointState.DRAINING if e == name else EndpointState.READY)
            for e in "abc"
        ],
        slo=SLO,
    )


def test_one_that_cannot_be_reached_gets_nothing() -> None:
    router = a_router(a_pool("abc", slo=SLO))
    router.observe(Unreachable("b"), 0.0)
    assert place_many(router, 60)["b"] == 0


def test_until_it_is_scraped_again() -> None:
    router = a_router(a_pool("abc", slo=SLO))
    router.observe(Unreachable("b"), 0.0)
    router.observe(Scraped("b", EngineView()), 1.0)
    assert place_many(router, 60, now=1.0)["b"] > 0


def test_if_nobody_can_be_reached_traffic_flows_to_all() -> None:
    router = a_router(a_pool("abc", slo=SLO))
    for endpoint in "abc":
        router.observe(Unreachable(endpoint), 0.0)
    assert place_many(router, 60).keys() == set("abc")


def test_a_process_that_died_has_lost_its_cache() -> None:
    router = a_router(a_pool("ab", slo=SLO, policy=Policy(candidates=CandidateSet.ALL)))
    request = a_request(blocks=a_chain(1, 6))
    home = chosen(router.place(request, 0.0))
    router.observe(Finished(request.request_id), 0.1)
    router.observe(Unreachable(home), 0.2)
    router.observe(Scraped(home, EngineView()), 0.3)
    again = router.place(a_request(blocks=a_chain(1, 6)), 0.4)
    assert isinstance(again, Placed)
    assert all(candidate.hit_tokens == 0 for candidate in again.decision.candidates)


def held_ids(outcomes: Sequence[Outcome]) -> list[str]:
    return [o.request_id for o in outcomes if isinstance(o, Held)]


def a_busy_router() -> tuple[Router, list[str]]:
    """Endpoint "a" prefills for six seconds and has two requests, free to go anywhere, held."""
    router = a_router(a_pool("abc"))
    blocker = a_request(blocks=a_chain(99, 240), allowed=["a"])
    assert isinstance(router.place(blocker, 0.0), Placed)
    for endpoint in "bc":
        router.observe(Unreachable(endpoint), 0.0)
    held = [a_request(blocks=a_chain(i, 30)) for i in (1, 2)]
    assert all(isinstance(router.place(r, 0.0), Held) for r in held)
    for endpoint in "bc":
        router.observe(Scraped(endpoint, EngineView()), 0.01)
    return router, [r.request_id for r in held]


def test_what_is_held_for_one_that_becomes_unreachable_goes_elsewhere() -> None:
    router, held = a_busy_router()
    outcomes = router.observe(Unreachable("a"), 0.02)
    assert {o.request_id for o in outcomes} == set(held)
    assert {chosen(o) for o in outcomes} == {"b", "c"}
    assert router.held == 0


def test_what_is_held_for_unreachable_ones_leaves_when_somebody_comes_back() -> None:
    router, held = a_busy_router()
    for endpoint in "bca":
        router.observe(Unreachable(endpoint), 0.02)
    assert router.held == 2, "nobody is better than another"
    outcomes = router.observe(Scraped("c", EngineView()), 0.03)
    assert {chosen(o) for o in outcomes if isinstance(o, Placed)} == {"c"}
    assert {e.endpoint_id for e in router.stats(0.03)["default/m"].endpoints if e.held} <= {"c"}
    assert len(outcomes) + router.held == len(held)


def test_what_is_held_for_one_that_is_gone_goes_elsewhere() -> None:
    router, held = a_busy_router()
    outcomes = router.apply(Fleet(pools=(a_pool("bc"),)), 0.02)
    assert {o.request_id for o in outcomes} == set(held)
    assert {chosen(o) for o in outcomes} == {"b", "c"}
    assert router.leases_outstanding == 3


def test_leases_on_one_that_is_gone_come_back_and_leave_nothing() -> None:
    router = a_router(a_pool("ab"))
    request = a_request(allowed=["a"])
    router.place(request, 0.0)
    router.apply(Fleet(pools=(a_pool("b"),)), 0.1)
    assert router.leases_outstanding == 1
    router.observe(FirstToken(request.request_id), 0.2)
    router.observe(Finished(request.request_id), 0.3)
    assert router.leases_outstanding == 0
    assert router._pools["default/m"].state.ledger.loads.keys() <= {"b"}


def test_an_answer_from_elsewhere_after_the_chosen_one_is_gone_moves_the_charge() -> None:
    router = a_router(a_pool("ab"))
    request = a_request(allowed=["a"])
    router.place(request, 0.0)
    router.apply(Fleet(pools=(a_pool("b"),)), 0.1)
    router.observe(FirstToken(request.request_id, "b"), 0.2)
    assert router.leases_at("b") == 1
    router.observe(Finished(request.request_id), 0.3)
    assert router._pools["default/m"].state.ledger.loads.keys() <= {"b"}


def test_a_draining_one_gets_nothing_new_but_its_queue_is_served() -> None:
    router = a_router(a_pool("abc", slo=SLO))
    first, *waiting = fill(router, "a")
    router.apply(Fleet(pools=(draining("a"),)), 0.1)
    assert place_many(router, 60, now=0.1)["a"] == 0
    served = router.observe(FirstToken(first.request_id), 1.5)
    assert [(o.request_id, chosen(o)) for o in served] == [(waiting[0].request_id, "a")]


def test_when_the_pool_is_gone_its_held_requests_are_refused_and_leases_return() -> None:
    router = a_router(a_pool("abc", slo=SLO))
    first, *waiting = fill(router, "a")
    outcomes = router.apply(Fleet(), 0.1)
    assert {o.request_id for o in outcomes} == {o.request_id for o in waiting}
    assert all(isinstance(o, Shed) and o.reason is ShedReason.NO_ENDPOINTS for o in outcomes)
    assert (router.held, router.leases_outstanding) == (0, 1)
    router.observe(FirstToken(first.request_id, "a"), 0.2)
    router.observe(Finished(first.request_id), 0.3)
    assert router.leases_outstanding == 0
    assert router.next_deadline() is None


def test_a_pool_of_the_same_name_starts_afresh() -> None:
    router = a_router(a_pool("a"))
    old = a_request()
    router.place(old, 0.0)
    router.apply(Fleet(), 0.1)
    router.apply(Fleet(pools=(a_pool("a"),)), 0.2)
    router.place(a_request(), 0.3)
    assert router.leases_outstanding == 2
    router.observe(Cancelled(old.request_id), 0.4)
    assert router.leases_outstanding == router.leases_at("a") == 1


def test_an_empty_pool_refuses_and_says_when_to_come_back() -> None:
    shed = a_router(a_pool([])).place(a_request(), 0.0)
    assert isinstance(shed, Shed)
    assert shed.reason is ShedReason.NO_ENDPOINTS
    assert shed.retry_after_s == 1.0


@pytest.mark.parametrize("blocks", [0, 6])
def test_a_subset_of_strangers_is_refused(blocks: int) -> None:
    request = a_request(blocks=a_chain(1, blocks), allowed=["x"])
    shed = a_router(a_pool("ab")).place(request, 0.0)
    assert isinstance(shed, Shed)
    assert shed.reason is ShedReason.EMPTY_SUBSET


@pytest.mark.parametrize("blocks", [0, 6])
@pytest.mark.parametrize("candidates", list(CandidateSet))
def test_a_subset_is_kept_to(blocks: int, candidates: CandidateSet) -> None:
    router = a_router(a_pool("abcdef", policy=Policy(candidates=candidates), slo=SLO))
    for e in "abcdef":
        router.observe(Scraped(e, EngineView()), 0.0)
    for i in range(50):
        request = a_request(blocks=a_chain(i, blocks), allowed=["b", "e", "x"])
        outcome = router.place(request, 0.0)
        assert chosen(outcome) in {"b", "e"}
        if isinstance(outcome, Placed):
            assert outcome.fallback_id in {"b", "e", None}


def test_an_endpoint_in_two_pools_is_known_in_both() -> None:
    base = a_pool("ab", name="default/base", model="base")
    tuned = a_pool("bc", name="default/tuned", model="tuned")
    router = a_router(base, tuned)
    for model in ("base", "tuned"):
        router.place(a_request(model=model, allowed=["b"]), 0.0)
    assert router.leases_at("b") == 2
    router.observe(Unreachable("b"), 0.0)
    outcomes = [router.place(a_request(model=m), 0.0) for m in ("base", "tuned") * 5]
    assert {chosen(o) for o in outcomes} == {"a", "c"}
    assert not router.ignored_events


def pairs_with(router: Router, endpoint: str, now: float) -> int:
    """For how many of many prefixes an endpoint is one of the two."""
    found = 0
    for i in range(300):
        request = a_request(blocks=a_chain(i + 1, 4))
        outcome = router.place(request, now)
        assert isinstance(outcome, Placed)
        found += endpoint in {c.endpoint_id for c in outcome.decision.candidates}
        router.observe(Cancelled(request.request_id), now)
    return found


def test_one_that_joins_takes_its_keys_in_steps() -> None:
    router = a_router(a_pool("abc"))
    router.apply(Fleet(pools=(a_pool("abcd"),)), 10.0)
    shares = [pairs_with(router, "d", 10.0)]
    while (due := router.next_deadline()) is not None and due <= 10.0 + WARMUP_S:
        router.tick(due)
        shares.append(pairs_with(router, "d", due))
    assert len(shares) == 4
    assert shares == sorted(shares)
    assert shares[0] < 0.5 * shares[-1]


def test_a_pool_that_starts_is_warm() -> None:
    router = a_router(a_pool("abcd"))
    assert router.next_deadline() is None
    assert {e.state for e in router.stats(0.0)["default/m"].endpoints} == {"ready"}


def test_reasons_are_told() -> None:
    router = a_router(a_pool("ab", slo=SLO))
    short, long = router.place(a_request(), 0.0), router.place(a_request(blocks=(1, 2, 3, 4)), 0.0)
    assert isinstance(short, Placed)
    assert isinstance(long, Placed)
    assert short.decision.reason is Reason.LEAST_BACKLOG
    assert long.decision.reason is Reason.AFFINE
