"""The dispatcher gives the core time, and its answers to the sessions they are for."""

import asyncio

import pytest

from edge.harness import Edge, a_pool
from headway_core.events import Cancelled, Finished, FirstToken
from headway_core.facts import InferenceRequest
from headway_core.outcomes import Held, Outcome, Placed, Shed, ShedReason
from headway_core.policy import Fleet, FlowControl, Policy
from headway_router.open_requests import REMEMBERED

LONG_TOKENS = 30_000
"""As much prefill as an engine is given at a time."""


def an_edge(queue_timeout_s: float = 30.0, **options: object) -> Edge:
    flow = FlowControl(queue_timeout_s=queue_timeout_s)
    pool = a_pool(addresses=["10.0.0.1:8000"], policy=Policy(flow_control=flow))
    return Edge(pool, **options)  # type: ignore[arg-type]


def a_request(request_id: str, prompt_tokens: int = LONG_TOKENS) -> InferenceRequest:
    return InferenceRequest(request_id=request_id, requested_model="m", prompt_tokens=prompt_tokens)


def ignored(outcome: Outcome) -> None:
    raise AssertionError(f"nobody waits for {outcome}")


def test_what_is_held_is_settled_with_who_asked() -> None:
    edge, settled = an_edge(), list[Outcome]()
    assert isinstance(edge.dispatcher.place(a_request("a"), ignored), Placed)
    assert isinstance(edge.dispatcher.place(a_request("b"), settled.append), Held)
    edge.clock.now_s += 0.5
    edge.dispatcher.observe(Finished("a"))
    [outcome] = settled
    assert isinstance(outcome, Placed) and outcome.request_id == "b"
    assert edge.count("headway_held_seconds_sum", pool="default/m") == pytest.approx(0.5)
    assert edge.count("headway_requests_total", pool="default/m", outcome="placed") == 2


def test_an_end_counts_once() -> None:
    edge = an_edge()
    edge.dispatcher.place(a_request("a"), ignored)
    edge.dispatcher.observe(Finished("a"))
    edge.dispatcher.observe(Finished("a"))
    edge.dispatcher.observe(Cancelled("a"))
    assert edge.core.leases_outstanding == 0
    assert edge.count("headway_requests_total", pool="default/m", outcome="cancelled") == 0


def test_a_taken_id_is_replaced() -> None:
    edge = an_edge()
    one = edge.dispatcher.place(a_request("same"), ignored)
    two = edge.dispatcher.place(a_request("same"), ignored)
    assert one.request_id == "same" != two.request_id


def test_a_lease_for_somebody_who_left_in_the_same_step_is_returned() -> None:
    edge = an_edge()
    dispatcher, placed = edge.dispatcher, list[str]()

    def b_is_settled_and_takes_c_away(outcome: Outcome) -> None:
        placed.append(outcome.request_id)
        dispatcher.observe(Cancelled("c"))

    dispatcher.place(a_request("a"), ignored)
    dispatcher.place(a_request("b", 500), b_is_settled_and_takes_c_away)
    dispatcher.place(a_request("c", 500), ignored)
    assert edge.core.held == 2
    dispatcher.observe(Finished("a"))
    assert placed == ["b"]
    assert edge.core.leases_outstanding == 1 and edge.core.held == 0


def test_a_fleet_without_the_pool_sheds_what_it_held() -> None:
    edge, settled = an_edge(), list[Outcome]()
    edge.dispatcher.place(a_request("a"), ignored)
    edge.dispatcher.place(a_request("b"), settled.append)
    edge.dispatcher.apply(Fleet())
    [outcome] = settled
    assert isinstance(outcome, Shed) and outcome.reason is ShedReason.NO_ENDPOINTS
    edge.dispatcher.observe(Finished("a"))
    assert edge.core.leases_outstanding == 0


def test_first_tokens_are_counted_once_per_request() -> None:
    edge = an_edge()
    edge.dispatcher.place(a_request("a"), ignored)
    edge.dispatcher.place(a_request("held"), list[Outcome]().append)
    for request_id in ("a", "a", "nobody"):
        edge.dispatcher.observe(FirstToken(request_id))
    counts = {
        outcome: edge.count("headway_first_tokens_total", outcome=outcome)
        for outcome in ("matched", "ignored", "unknown")
    }
    assert counts == {"matched": 1, "ignored": 1, "unknown": 1}


def test_a_tap_may_tell_of_an_answer_when_its_request_has_ended() -> None:
    """Once; and of no more than were remembered."""
    edge = an_edge()
    for number in range(REMEMBERED + 1):
        outcome = edge.dispatcher.place(a_request(f"r{number}"), ignored)
        assert isinstance(outcome, Placed)
        edge.dispatcher.observe(Finished(f"r{number}"))
    for request_id in ("r0", "r1", "r1"):
        edge.dispatcher.observe(FirstToken(request_id, "10.9.9.9:1"))
    assert edge.count("headway_first_tokens_total", outcome="matched") == 1
    assert edge.count("headway_first_tokens_total", outcome="unknown") == 2
    assert edge.count("headway_fallbacks_total", pool="default/m") == 1


def test_a_refusal_of_an_engine_frees_it_for_others_and_keeps_the_id() -> None:
    edge, settled = an_edge(), list[Outcome]()
    edge.dispatcher.place(a_request("a"), ignored)
    edge.dispatcher.place(a_request("b"), settled.append)
    edge.dispatcher.engine_refused("a")
    assert [type(outcome) for outcome in settled] == [Placed]
    assert edge.dispatcher.place(a_request("a", 1), settled.append).request_id != "a"
    edge.dispatcher.observe(Finished("a"))
    assert edge.core.leases_outstanding + edge.core.held == 2


async def test_time_passes_without_traffic() -> None:
    """A deadline that comes after the timer went to sleep wakes it."""
    loop = asyncio.get_running_loop()
    edge = an_edge(queue_timeout_s=0.05, clock=loop.time)
    expired = loop.create_future()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        timer = group.create_task(edge.dispatcher.run())
        await asyncio.sleep(0)
        edge.dispatcher.place(a_request("a"), ignored)
        edge.dispatcher.place(a_request("b"), expired.set_result)
        outcome = await expired
        timer.cancel()
    assert outcome.reason is ShedReason.QUEUE_TIMEOUT


async def test_a_core_that_fails_ends_the_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = an_edge(queue_timeout_s=0.05, clock=asyncio.get_running_loop().time)

    def fail(now: float) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(edge.core, "tick", fail)
    with pytest.RaisesGroup(ZeroDivisionError):
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(edge.dispatcher.run())
            await asyncio.sleep(0)
            edge.dispatcher.place(a_request("a"), ignored)
