"""What a request costs, in counts: not more in a large pool than in a small one."""

import sys
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import Any

import pytest

from headway_core.events import Finished, FirstToken, Scraped, Unreachable
from headway_core.facts import EndpointState, EngineView, Slo
from headway_core.outcomes import Placed
from headway_core.router import Router
from headway_core.testing import a_chain, a_pool, a_request, a_router, an_endpoint

ROUNDS = 120


def lines(action: Callable[..., object], *args: object) -> int:
    """Lines of Python that a call runs, calls into C not counted."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action(*args)
    finally:
        sys.settrace(before)
    return count


def a_large_router(endpoints: int, *, unusable: int = 0, slo: Slo | None = None) -> Router:
    """All views are fresh; beside ``endpoints`` there are drained and unreachable ones."""
    names = [f"e{i}" for i in range(endpoints)]
    drained = [an_endpoint(f"d{i}", state=EndpointState.DRAINING) for i in range(unusable)]
    dead = [f"u{i}" for i in range(unusable)]
    router = a_router(a_pool([*names, *drained, *dead], slo=slo))
    for name in names:
        router.observe(Scraped(name, EngineView(waiting=0)), 0.0)
    for name in dead:
        router.observe(Unreachable(name), 0.0)
    return router


def mean_lines(router: Router, blocks: int) -> float:
    """Of ``place``, its first token and its end, with some 40 requests in flight."""
    rng, in_flight, total = Random(1), list[str](), 0
    for i in range(ROUNDS):
        chain = a_chain(0, blocks // 4) + a_chain(rng.randrange(1, 60), blocks - blocks // 4)
        request, now = a_request(blocks=chain), i / 1000
        in_flight.append(request.request_id)
        total += lines(router.place, request, now)
        if len(in_flight) > 40:
            oldest = in_flight.pop(0)
            total += lines(router.observe, FirstToken(oldest), now)
            total += lines(router.observe, Finished(oldest), now)
    return total / ROUNDS


@pytest.mark.parametrize("slo", [Slo(ttft_s=5.0), None], ids=["with an SLO", "without"])
@pytest.mark.parametrize("blocks", [0, 20])
def test_a_request_costs_the_same_among_a_thousand_endpoints(blocks: int, slo: Slo | None) -> None:
    few = mean_lines(a_large_router(8, slo=slo), blocks)
    many = mean_lines(a_large_router(1000, slo=slo), blocks)
    assert many < 1.5 * few


@pytest.mark.parametrize("blocks", [0, 20])
def test_endpoints_that_may_not_serve_cost_nothing(blocks: int) -> None:
    alone = mean_lines(a_large_router(8), blocks)
    among_others = mean_lines(a_large_router(8, unusable=300), blocks)
    assert among_others < 1.5 * alone + 40, "a walk on the ring passes over the unreachable"


def test_a_long_prompt_costs_by_its_blocks() -> None:
    """Linear, with a few lines per block: it is recorded in the mirror."""
    short = mean_lines(a_large_router(8), 20)
    long = mean_lines(a_large_router(8), 220)
    assert long - short < 200 * 6


def test_a_subset_of_one_among_a_thousand_is_found_without_a_search() -> None:
    router = a_large_router(1000)
    anywhere = lines(router.place, a_request(blocks=a_chain(1, 20)), 0.0)
    there = lines(router.place, a_request(blocks=a_chain(2, 20), allowed=["e999"]), 0.0)
    assert there < 1.5 * anywhere


def test_joining_a_long_queue_does_not_look_at_everybody_in_it() -> None:
    router = a_large_router(2)

    def lines_beside(held: int) -> float:
        while router.held < held:
            router.place(a_request(blocks=a_chain(router.held, 20)), 0.0)
        newcomers = [a_request(blocks=a_chain(held + i, 20)) for i in range(20)]
        return sum(lines(router.place, newcomer, 0.0) for newcomer in newcomers) / 20

    few = lines_beside(20)
    assert lines_beside(600) < 1.5 * few


def test_memory_does_not_grow_with_the_requests_served() -> None:
    router = a_router(a_pool("abcd", slo=Slo(ttft_s=5.0)))

    def serve(requests: int, begin: int) -> int:
        for i in range(begin, begin + requests):
            request = a_request(blocks=a_chain(i, 8))
            if isinstance(router.place(request, float(i)), Placed):
                router.observe(FirstToken(request.request_id), i + 0.2)
            router.observe(Finished(request.request_id), i + 0.3)
            router.next_deadline()
        state = router._pools["default/m"].state
        return (
            len(router._tracked)
            + len(router._request_timers._heap)
            + len(router._pool_timers._heap)
            + sum(len(heap) for heap in state.by_backlog._heaps.values())
            + sum(len(heap) for heap in state.by_requests._heaps.values())
            + len(state.ladder._counts)
            + len(state.ledger._holder)
            + len(state.mirror._holders)
        )

    warm = serve(1200, begin=0)
    assert serve(1200, begin=1200) < 1.6 * warm
    assert serve(1200, begin=2400) < 2.2 * warm
