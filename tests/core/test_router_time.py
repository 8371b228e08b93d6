"""Instants: what is due when, and that waiting for it comes to an end."""

from random import Random

import pytest

from headway_core.affinity.warmup import STEPS
from headway_core.events import Cancelled, Finished, FirstToken, Scraped
from headway_core.facts import EngineView, Slo
from headway_core.outcomes import Held, Outcome, Placed
from headway_core.policy import Fleet, FlowControl, Policy
from headway_core.router import Router
from headway_core.testing import a_chain, a_pool, a_request, a_router
from headway_core.toy_engines import Rehearsal


def ticks_until_nothing_is_due(router: Router, limit: int = 20_000) -> list[Outcome]:
    """Jump from deadline to deadline."""
    outcomes: list[Outcome] = []
    for _ in range(limit):
        due = router.next_deadline()
        if due is None:
            return outcomes
        outcomes += router.tick(due)
    pytest.fail(f"still something due after {limit} ticks")


def test_a_router_without_requests_waits_for_nothing() -> None:
    assert a_router(a_pool("ab")).next_deadline() is None
    assert Router(Random(0)).next_deadline() is None


def test_a_router_with_a_dispatched_request_waits_for_its_predicted_end() -> None:
    router = a_router(a_pool("a"))
    request = a_request(prompt_tokens=1000)
    router.place(request, 5.0)
    assert router.next_deadline() == pytest.approx(5.1)
    router.observe(FirstToken(request.request_id), 5.05)
    assert router.next_deadline() is None, "its first token was seen"


def test_a_tick_before_anything_is_due_changes_nothing() -> None:
    router = a_router(a_pool("a"))
    router.place(a_request(prompt_tokens=1000), 0.0)
    due = router.next_deadline()
    assert router.tick(0.05) == ()
    assert router.next_deadline() == due


def test_jumping_from_deadline_to_deadline_settles_everybody() -> None:
    """Nobody tells of first tokens or ends: what is held goes by predictions or times out."""
    router, rng = a_router(a_pool("abc", slo=Slo(ttft_s=2.0))), Random(2)
    held = set()
    for i in range(400):
        request = a_request(blocks=a_chain(rng.randrange(30), rng.randrange(80)))
        outcome = router.place(request, i * 0.001)
        if isinstance(outcome, Held):
            held.add(outcome.request_id)
    assert len(held) > 100
    outcomes = ticks_until_nothing_is_due(router)
    settled = [o.request_id for o in outcomes]
    assert router.held == 0
    assert held <= set(settled)
    assert len(settled) == len(set(settled)), "each once"
    assert all(not isinstance(o, Held) for o in outcomes)


@pytest.mark.parametrize("joined", [0.1, 0.7, 3.3, 1e3 + 1 / 3, 1.7e9 + 0.1])
def test_warming_up_comes_to_an_end_whatever_the_clock_shows(joined: float) -> None:
    router = a_router(a_pool("ab"), now=joined - 0.1)
    router.apply(Fleet(pools=(a_pool("abc"),)), joined)
    steps = 0
    while (due := router.next_deadline()) is not None:
        router.tick(due)
        steps += 1
        assert steps < STEPS
    assert steps == STEPS - 1
    assert {e.state for e in router.stats(joined + 60)["default/m"].endpoints} == {"ready"}


def test_time_that_goes_back_counts_as_the_latest() -> None:
    router = a_router(a_pool("a", slo=Slo(ttft_s=5.0)))
    first, second = a_request(prompt_tokens=9000), a_request()
    router.place(first, 100.0)
    router.place(second, 50.0)
    router.observe(Scraped("a", EngineView(waiting=1)), 0.0)
    router.observe(FirstToken(first.request_id), 10.0)
    assert router.tick(-1.0) == ()
    assert all(due >= 100.0 for due in [router.next_deadline() or 100.0])
    router.observe(Finished(first.request_id), 0.0)
    router.observe(Finished(second.request_id), 0.0)
    assert router.leases_outstanding == 0


def test_a_deadline_never_lies_in_the_past() -> None:
    policy = Policy(flow_control=FlowControl(queue_timeout_s=1.0))
    router = a_router(a_pool("a", policy=policy))
    router.place(a_request(prompt_tokens=90_000), 0.0)
    router.place(a_request(), 0.0)
    router.place(a_request(), 7.0)
    assert router.next_deadline() == 7.0


def test_timers_of_those_who_ended_are_forgotten() -> None:
    router = a_router(a_pool("ab"))
    for i in range(2000):
        request = a_request()
        router.place(request, i * 0.01)
        router.observe(FirstToken(request.request_id), i * 0.01)
        router.observe(Finished(request.request_id), i * 0.01)
        router.next_deadline()
    assert len(router._request_timers._heap) < 10
    assert not router._tracked


def test_fleets_applied_while_one_warms_up_leave_few_timers() -> None:
    router = a_router(a_pool("ab"))
    for i in range(500):
        router.apply(Fleet(pools=(a_pool("abc"),)), i * 0.01)
    assert len(ticks_until_nothing_is_due(router, limit=2000)) == 0
    assert len(router._pool_timers._heap) == 0


@pytest.mark.parametrize("has_tap", [True, False])
@pytest.mark.parametrize("scrape_every_s", [0.5, None])
def test_an_overloaded_pool_serves_everybody_in_the_end(
    has_tap: bool, scrape_every_s: float | None
) -> None:
    policy = Policy(flow_control=FlowControl(queue_timeout_s=1e6))
    router = a_router(a_pool("abcd", policy=policy, slo=Slo(ttft_s=1.0)))
    rehearsal = Rehearsal(router, "abcd", has_tap=has_tap, scrape_every_s=scrape_every_s)
    for i in range(300):
        rehearsal.arrive(i * 0.01, a_request(blocks=a_chain(i + 1, 1 + i % 24)))
    rehearsal.run()
    assert len(rehearsal.ttft_s) == 300
    assert (router.held, router.leases_outstanding) == (0, 0)
    assert router.next_deadline() is None


def test_a_cancelled_request_is_not_woken_for() -> None:
    router = a_router(a_pool("a"))
    router.place(a_request(request_id="first", prompt_tokens=90_000), 0.0)
    assert isinstance(router.place(a_request(request_id="held"), 0.0), Held)
    for request_id in ("held", "first"):
        router.observe(Cancelled(request_id), 0.1)
    assert ticks_until_nothing_is_due(router, limit=3) == []


def test_an_id_that_is_used_again_is_not_settled_by_the_timer_of_the_first() -> None:
    router = a_router(a_pool("a"))
    router.place(a_request(request_id="x", prompt_tokens=90_000), 0.0)
    router.observe(Cancelled("x"), 1.0)
    assert isinstance(router.place(a_request(request_id="x", prompt_tokens=900_000), 2.0), Placed)
    router.tick(9.0)
    assert router._pools["default/m"].state.backlog_s("a") > 0
