"""Which held requests would be served sooner elsewhere."""

from collections.abc import Sequence
from random import Random

import pytest

from headway_core.endpoints import PoolEndpoints
from headway_core.estimate.work import Work
from headway_core.facts import Endpoint
from headway_core.outcomes import Lease
from headway_core.policy import FlowControl, Policy, QueueOrder
from headway_core.pool_state import PoolState
from headway_core.queueing.rebalance import GAIN_S, WORST, moves
from headway_core.testing import a_pool, a_tracked, an_endpoint
from headway_core.tracking import Tracked

FCFS = Policy(flow_control=FlowControl(order=QueueOrder.FCFS))


def a_state(
    endpoints: Sequence[Endpoint | str], held: Sequence[Tracked], **busy_tokens: int
) -> PoolState:
    """A pool with requests held for "a", and engines that have so much to prefill."""
    pool = a_pool(endpoints, policy=FCFS)
    state = PoolState(pool, PoolEndpoints(Random(0)))
    state.apply(pool, 0.0)
    for lease_id, (endpoint, tokens) in enumerate(busy_tokens.items()):
        state.ledger.charge(Lease(lease_id, tokens, 0.0), endpoint, Work(tokens, 0), 0.0)
    for entry in held:
        state.queues["a"].add(entry)
    for record in state.endpoints:
        state.reindex(record.endpoint.endpoint_id)
    return state


def moved(state: PoolState) -> dict[str, str]:
    return {m.entry.request_id: m.to.candidate.endpoint_id for m in moves(state, 0.0)}


def test_where_nothing_is_held_nothing_moves() -> None:
    assert moved(a_state("ab", [], a=50_000)) == {}


def test_the_last_in_the_order_moves_to_the_least_loaded() -> None:
    held = [a_tracked("first", tokens=1000), a_tracked("last", tokens=1000)]
    assert moved(a_state("abc", held, a=5_000, b=9_000)) == {"last": "c"}


def test_one_to_each_target_in_a_pass() -> None:
    held = [a_tracked(f"r{i}", tokens=1000, sequence=i) for i in range(5)]
    kinds: list[Endpoint | str] = ["a", "b", an_endpoint("c", group="other")]
    assert set(moved(a_state(kinds, held, a=50_000)).values()) == {"b", "c"}


@pytest.mark.parametrize(
    ("busy_b", "moves_away"),
    [
        pytest.param(50_000 - 600, True, id="by 60 ms it pays"),
        pytest.param(50_000 - 400, False, id="by 40 ms it does not"),
    ],
)
def test_a_move_must_gain_more_than_it_disturbs(busy_b: int, moves_away: bool) -> None:
    assert GAIN_S == 0.05
    state = a_state("ab", [a_tracked("r", tokens=1000)], a=50_000, b=busy_b)
    assert bool(moved(state)) == moves_away


def test_a_request_moves_once() -> None:
    entry = a_tracked("r", tokens=1000)
    assert entry.held is not None
    entry.held.moved = True
    assert moved(a_state("ab", [entry], a=50_000)) == {}


def test_those_that_have_moved_do_not_keep_others_from_moving() -> None:
    settled = [a_tracked(f"moved {i}", tokens=10, arrived=9.0) for i in range(WORST)]
    for entry in settled:
        assert entry.held is not None
        entry.held.moved = True
    movable = a_tracked("movable", tokens=1000)
    assert moved(a_state("ab", [movable, *settled], a=50_000)) == {"movable": "b"}


def test_nothing_moves_to_where_it_may_not_go() -> None:
    entry = a_tracked("r", tokens=1000)
    state = a_state("ab", [entry], a=50_000)
    state.endpoints.set_reachable("b", False, 0.0)
    state.follow_serving()
    assert moved(state) == {}
