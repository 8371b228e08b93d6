"""Requests that wait in the router: who waits, who goes, who is refused, and when."""

from dataclasses import replace

import pytest

from headway_core.events import Cancelled, Failed, Finished, FirstToken, Scraped
from headway_core.facts import EngineView, Slo
from headway_core.holding import REBALANCE_S
from headway_core.outcomes import Held, Outcome, Placed, Reason, Shed, ShedReason
from headway_core.policy import Fleet, FlowControl, Policy, QueueOrder, SloClass
from headway_core.router import Router
from headway_core.testing import a_chain, a_pool, a_request, a_router, an_endpoint

BATCH = SloClass(name="batch", sheddable=True, slo=Slo(ttft_s=5.0))
CLASSES = (BATCH, SloClass(name="urgent", priority=10), SloClass(name="normal"))


def a_policy(**flow_control: object) -> Policy:
    return Policy(slo_classes=CLASSES, flow_control=replace(FlowControl(), **flow_control))  # type: ignore[arg-type]  # one builder for all fields


def one_engine(policy: Policy | None = None) -> Router:
    """10,000 tokens per second, and 4,096 of them at a time."""
    return a_router(a_pool("a", policy=policy or a_policy()))


def busy(router: Router, prompt_tokens: int = 20_000, now: float = 0.0) -> str:
    """Dispatch a prompt that fills the engine; returns its id."""
    request = a_request(prompt_tokens=prompt_tokens)
    assert isinstance(router.place(request, now), Placed)
    return request.request_id


def hold(router: Router, name: str, *, tokens: int = 1000, now: float = 0.0, **more: str) -> Held:
    request = a_request(request_id=name, prompt_tokens=tokens, slo_class=more.get("slo_class"))
    outcome = router.place(request, now)
    assert isinstance(outcome, Held)
    return outcome


def settled(router: Router, now: float) -> dict[float, Outcome]:
    """What timers bring about until then, by its instant."""
    outcomes: dict[float, Outcome] = {}
    while (due := router.next_deadline()) is not None and due <= now:
        for outcome in router.tick(due):
            outcomes[due + len(outcomes) * 1e-9] = outcome
    return outcomes


def test_two_batches_go_to_an_engine_and_the_rest_waits() -> None:
    router = one_engine()
    outcomes = [router.place(a_request(prompt_tokens=1500), 0.0) for _ in range(4)]
    assert [type(o) for o in outcomes] == [Placed, Placed, Held, Held]
    assert (router.leases_outstanding, router.held) == (2, 2)


def test_a_first_token_lets_the_next_one_go() -> None:
    router = one_engine()
    first = busy(router)
    hold(router, "waiting")
    (placed,) = router.observe(FirstToken(first), 1.0)
    assert isinstance(placed, Placed)
    assert placed.request_id == "waiting"
    assert router.held == 0


@pytest.mark.parametrize("end", [Finished, Failed, Cancelled])
def test_the_end_of_an_exchange_lets_the_next_one_go(
    end: type[Finished] | type[Failed] | type[Cancelled],
) -> None:
    router = one_engine()
    first = busy(router)
    hold(router, "waiting")
    assert [o.request_id for o in router.observe(end(first), 1.0)] == ["waiting"]


def test_without_any_news_of_the_first_token_its_predicted_end_frees_the_engine() -> None:
    router = one_engine()
    busy(router, prompt_tokens=20_000)
    hold(router, "waiting")
    ((when, placed),) = settled(router, 10.0).items()
    assert isinstance(placed, Placed)
    assert when == pytest.approx(2.0), "20,000 tokens at 10,000 per second"


def test_where_first_tokens_are_seen_a_missing_one_is_waited_for_longer() -> None:
    router = one_engine()
    for i in range(20):
        seen = busy(router, prompt_tokens=1000, now=float(i))
        router.observe(FirstToken(seen), i + 0.1)
        router.observe(Finished(seen), i + 0.2)
    busy(router, prompt_tokens=20_000, now=20.0)
    hold(router, "waiting", now=20.0)
    ((when, placed),) = settled(router, 99.0).items()
    assert isinstance(placed, Placed)
    assert 27.0 < when < 32.0, "not after the 2 s that it should take: after 4 times as long"


def test_a_short_prompt_may_pass_one_that_does_not_fit() -> None:
    router = one_engine()
    busy(router, prompt_tokens=2000)
    hold(router, "long", tokens=5000)
    outcome = router.place(a_request(prompt_tokens=100), 0.0)
    assert isinstance(outcome, Placed)


def test_one_that_goes_right_after_a_newcomer_is_told_too() -> None:
    router = one_engine()
    for i in range(6):
        first = busy(router, now=float(i))
        hold(router, f"turn {i}", now=float(i))
        for request_id in (first, f"turn {i}"):
            router.observe(FirstToken(request_id), i + 0.5)
    # The newcomer has the seventh turn, the oldest the eighth.
    busy(router, prompt_tokens=3000, now=10.0)
    second = busy(router, prompt_tokens=1000, now=10.0)
    hold(router, "oldest", tokens=100, now=10.0)
    hold(router, "does not fit", tokens=3000, now=10.0, slo_class="urgent")
    assert router.observe(FirstToken(second), 10.0) == ()
    newcomer = a_request(prompt_tokens=50, priority=99)
    assert isinstance(router.place(newcomer, 10.0), Placed)
    assert router.next_deadline() == 10.0, "there is something to tell at once"
    assert [o.request_id for o in router.tick(10.0)] == ["oldest"]


def test_one_that_leaves_before_it_could_be_told_is_not_told() -> None:
    router = one_engine()
    for i in range(6):
        first = busy(router, now=float(i))
        hold(router, f"turn {i}", now=float(i))
        for request_id in (first, f"turn {i}"):
            router.observe(FirstToken(request_id), i + 0.5)
            router.observe(Finished(request_id), i + 0.6)
    busy(router, prompt_tokens=3000, now=10.0)
    second = busy(router, prompt_tokens=1000, now=10.0)
    hold(router, "oldest", tokens=100, now=10.0)
    hold(router, "does not fit", tokens=3000, now=10.0, slo_class="urgent")
    router.observe(FirstToken(second), 10.0)
    router.place(a_request(prompt_tokens=50, priority=99), 10.0)
    assert router.leases_outstanding == 4
    assert router.observe(Cancelled("oldest"), 10.0) == ()
    assert router.leases_outstanding == 3


def test_when_one_that_blocked_the_way_leaves_the_next_one_goes() -> None:
    router = one_engine()
    busy(router, prompt_tokens=2000)
    hold(router, "blocks", tokens=5000, slo_class="urgent")
    hold(router, "fits", tokens=1000)
    assert [o.request_id for o in router.observe(Cancelled("blocks"), 0.1)] == ["fits"]


def test_a_higher_priority_goes_first() -> None:
    router = one_engine()
    first = busy(router)
    hold(router, "normal", tokens=10)
    hold(router, "urgent", tokens=4000, slo_class="urgent")
    assert [o.request_id for o in router.observe(FirstToken(first), 1.0)] == ["urgent", "normal"]


def test_a_higher_priority_does_not_expect_to_wait_for_lower_ones() -> None:
    router = one_engine()
    busy(router)
    for i in range(5):
        hold(router, f"normal {i}", tokens=1000)
    urgent = hold(router, "urgent", tokens=2000, slo_class="urgent").decision.chosen
    normal = hold(router, "normal", tokens=2000).decision.chosen
    assert urgent.seconds_by_term["queue"] == 0.0
    assert normal.seconds_by_term["queue"] > 0.5


def test_what_a_sister_has_cached_meanwhile_is_not_counted_as_work() -> None:
    router = one_engine()
    first = busy(router)
    sisters = [a_request(blocks=a_chain(1, 8)) for _ in range(3)]
    assert all(isinstance(router.place(sister, 0.0), Held) for sister in sisters)
    outcomes = router.observe(FirstToken(first), 1.0)
    computed = [o.legs[0].lease.prefill_tokens for o in outcomes if isinstance(o, Placed)]
    assert computed == [2049, 1, 1], "and all of them fit"
    assert router.stats(1.0)["default/m"].endpoints[0].unprefilled == 3


# -- limits ----------------------------------------------------------------------------------


def test_a_full_queue_refuses() -> None:
    router = one_engine(a_policy(max_queued_requests=2))
    busy(router)
    hold(router, "first")
    hold(router, "second")
    shed = router.place(a_request(), 0.0)
    assert isinstance(shed, Shed)
    assert shed.reason is ShedReason.QUEUE_FULL
    assert shed.retry_after_s is not None
    assert shed.retry_after_s >= 1.0


def test_one_that_waited_too_long_is_refused_at_the_instant_it_was_told() -> None:
    router = one_engine(a_policy(queue_timeout_s=1.5))
    busy(router)
    held = hold(router, "waiting")
    assert held.deadline_s == 1.5
    ((when, shed),) = settled(router, 10.0).items()
    assert isinstance(shed, Shed)
    assert when == 1.5
    assert (shed.request_id, shed.reason) == ("waiting", ShedReason.QUEUE_TIMEOUT)
    assert router.held == 0


def test_a_timeout_of_nothing_refuses_at_once() -> None:
    router = one_engine(a_policy(queue_timeout_s=0.0))
    busy(router)
    hold(router, "waiting")
    assert [o.request_id for o in router.tick(0.0)] == ["waiting"]


def test_a_sheddable_request_that_nobody_can_serve_in_time_is_refused_at_arrival() -> None:
    router = one_engine()
    busy(router, prompt_tokens=90_000)
    shed = router.place(a_request(slo_class="batch"), 0.0)
    assert isinstance(shed, Shed)
    assert shed.reason is ShedReason.DEADLINE
    assert shed.retry_after_s == pytest.approx(9.0 - 5.0, abs=0.1)
    assert shed.decision is not None


def test_one_that_can_be_served_in_time_is_not() -> None:
    router = one_engine()
    busy(router, prompt_tokens=40_000)
    hold(router, "batch", slo_class="batch")


def test_a_sheddable_request_is_refused_while_held_as_soon_as_it_is_late() -> None:
    """It must start its prefill of 0.1 s at 4.85 s to have 5 s, with 50 ms for the way."""
    router = one_engine()
    busy(router, prompt_tokens=40_000)
    hold(router, "batch", slo_class="batch")
    busy_again = a_request(prompt_tokens=20_000, priority=99)
    router.place(busy_again, 0.0)  # Passes it when the engine is free at 4 s.
    ((when, shed),) = [(w, o) for w, o in settled(router, 20.0).items() if isinstance(o, Shed)]
    assert (shed.request_id, shed.reason) == ("batch", ShedReason.DEADLINE)
    assert when == pytest.approx(4.85)
    assert shed.retry_after_s is not None


def test_others_are_never_refused_for_being_late() -> None:
    router = one_engine()
    busy(router, prompt_tokens=90_000)
    request = a_request(request_id="late", prompt_tokens=1000, slo=Slo(ttft_s=0.5))
    assert isinstance(router.place(request, 0.0), Held)
    (placed,) = settled(router, 20.0).values()
    assert isinstance(placed, Placed)


def test_without_holding_everything_goes_at_once() -> None:
    router = one_engine(a_policy(enabled=False))
    outcomes = [router.place(a_request(prompt_tokens=20_000), 0.0) for _ in range(10)]
    assert all(isinstance(o, Placed) for o in outcomes)


def test_when_holding_is_switched_off_those_who_wait_go() -> None:
    router = one_engine()
    busy(router)
    for i in range(5):
        hold(router, f"r{i}")
    outcomes = router.apply(Fleet(pools=(a_pool("a", policy=a_policy(enabled=False)),)), 0.1)
    assert {o.request_id for o in outcomes} == {f"r{i}" for i in range(5)}
    assert router.held == 0


def test_a_larger_window_is_used_at_once() -> None:
    router = one_engine()
    busy(router, prompt_tokens=3000)
    hold(router, "waiting", tokens=2000)
    larger = a_pool([an_endpoint("a", batch_tokens=8192)])
    outcomes = router.apply(Fleet(pools=(larger,)), 0.1)
    assert [o.request_id for o in outcomes] == ["waiting"]


def test_a_changed_order_holds_from_the_next_turn_on() -> None:
    router = one_engine(a_policy(order=QueueOrder.FCFS))
    first = busy(router)
    hold(router, "first come", tokens=4000)
    hold(router, "short", tokens=100)
    router.apply(Fleet(pools=(a_pool("a", policy=a_policy(order=QueueOrder.SRPT)),)), 0.1)
    assert router.observe(FirstToken(first), 1.0)[0].request_id == "short"


# -- rebalancing -----------------------------------------------------------------------------


def two_busy_engines() -> tuple[Router, str]:
    """Both prefill for 30 s; with the id of the prompt that "b" is at."""
    router = a_router(a_pool("ab", policy=a_policy(queue_timeout_s=100.0)))
    blockers = [a_request(prompt_tokens=300_000, allowed=[e]) for e in "ab"]
    for blocker in blockers:
        assert isinstance(router.place(blocker, 0.0), Placed)
    for endpoint in "ab":
        router.observe(Scraped(endpoint, EngineView()), 0.0)
    return router, blockers[1].request_id


def hold_some(router: Router, names: str) -> None:
    for name in names:
        request = a_request(request_id=name, blocks=a_chain(ord(name), 12))
        assert isinstance(router.place(request, 0.0), Held)


def become_idle(router: Router, request_id: str) -> int:
    """First tokens of what "b" has; returns how many are still held for "a"."""
    for held in router.observe(FirstToken(request_id), 0.01):
        for more in router.observe(FirstToken(held.request_id), 0.01):
            router.observe(FirstToken(more.request_id), 0.01)
    return router.held


def test_a_held_request_moves_to_where_it_is_served_sooner() -> None:
    router, at_b = two_busy_engines()
    hold_some(router, "1234")
    waiting = become_idle(router, at_b)
    assert waiting > 0
    moved = settled(router, 20 * REBALANCE_S).values()
    assert moved
    for outcome in moved:
        assert isinstance(outcome, Placed)
        assert outcome.decision.endpoint_id == "b"
        assert outcome.decision.reason is Reason.REBALANCED
    assert router.held == waiting - len(moved)


def test_rebalancing_starts_again_after_the_queues_ran_empty() -> None:
    router, at_b = two_busy_engines()
    hold_some(router, "1")
    router.observe(Cancelled("1"), 0.0)
    router.next_deadline()
    hold_some(router, "2345")
    assert become_idle(router, at_b) > 0
    assert settled(router, 20 * REBALANCE_S)


def test_a_moved_request_is_refused_when_it_is_late_where_it_is_now() -> None:
    """On "slow" it had to start by 4.15 s, on "quick", where its prefill is half, by 4.55 s."""
    slow, quick = an_endpoint("slow", prefill_tokens_per_s=5_000.0, group="s"), an_endpoint("quick")
    router = a_router(a_pool([slow, quick], policy=a_policy()))

    def occupy(endpoint: str, tokens: int, now: float) -> str:
        request = a_request(prompt_tokens=tokens, allowed=[endpoint], priority=99)
        router.place(request, now)
        return request.request_id

    occupy("slow", 20_000, 0.0)
    long = occupy("quick", 300_000, 0.0)
    hold(router, "batch", tokens=4_000, slo_class="batch")
    occupy("slow", 20_000, 0.0)  # Will pass it there.
    router.observe(Cancelled(long), 1.0)
    occupy("quick", 30_000, 1.0)
    assert settled(router, 2.0) == {}
    assert [e.held for e in router.stats(2.0)["default/m"].endpoints] == [1, 1], "it has moved"
    occupy("quick", 30_000, 2.0)  # And there.
    ((when, shed),) = [(w, o) for w, o in settled(router, 60.0).items() if isinstance(o, Shed)]
    assert (shed.request_id, shed.reason) == ("batch", ShedReason.DEADLINE)
    assert when == pytest.approx(4.55)


def test_nobody_waits_for_ever_when_engines_stand_still() -> None:
    router, _ = two_busy_engines()
    hold_some(router, "1234")
    for endpoint in "ab":
        router.place(a_request(prompt_tokens=10**9, allowed=[endpoint], priority=99), 0.0)
    outcomes = settled(router, 1000.0).values()
    assert {o.request_id for o in outcomes if isinstance(o, Shed | Placed)} >= set("1234")
    assert router.held == 0
