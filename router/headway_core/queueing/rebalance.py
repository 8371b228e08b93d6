"""Which held requests would be served sooner elsewhere; bounded work per pass.

Of the endpoint with the longest backlog the 16 held requests whose turn comes last are compared:
where each stands (a sum over the order) against its arriving now at the least loaded endpoints of
the pool.  One that gains more than 50 ms moves, once at most (DualMap's own form
is quadratic in the queue).
"""

from dataclasses import dataclass

from headway_core.choice import Prospect
from headway_core.facts import EndpointId
from headway_core.pool_state import PoolState
from headway_core.prospects import Choices, assess
from headway_core.tracking import Tracked

WORST = 16
GAIN_S = 0.05


@dataclass(frozen=True, slots=True)
class Move:
    entry: Tracked
    to: Prospect


def moves(state: PoolState, now: float) -> list[Move]:
    """The moves of one pass, at most one to each target: a move changes what the next would see."""
    source = max(
        (e for e, queue in state.queues.items() if any(map(_may_move, queue))),
        key=state.backlog_s,
        default=None,
    )
    if source is None:
        return []
    found: list[Move] = []
    taken: set[EndpointId] = {source}
    for entry, wait_s in _worst(state, source, now):
        best = _best(state, entry, taken, now)
        if best is not None and wait_s - best.candidate.ttft_s > GAIN_S:
            found.append(Move(entry, best))
            taken.add(best.candidate.endpoint_id)
    return found


def _may_move(entry: Tracked) -> bool:
    return entry.held is not None and not entry.held.moved


def _worst(state: PoolState, source: EndpointId, now: float) -> list[tuple[Tracked, float]]:
    """The last of the order that may move, with their predicted TTFT, the very last first."""
    queue, law = state.queues[source], state.latency.endpoints[source]
    found: list[tuple[Tracked, float]] = []
    ends_with = state.engine_work_ahead(source, now).plus(queue.work)
    for entry in reversed(queue.in_order(state.pool.policy.flow_control.order, now)):
        if len(found) == WORST:
            break
        if _may_move(entry):
            found.append((entry, law.work_s(ends_with)))
        ends_with = ends_with.minus(entry.held_work)
    return found


def _best(state: PoolState, entry: Tracked, taken: set[EndpointId], now: float) -> Prospect | None:
    """The best of the other ring member and the least loaded endpoint of each kind."""
    allowed = state.endpoints.serving
    if entry.request.allowed_endpoints is not None:
        allowed &= entry.request.allowed_endpoints

    def may_take(endpoint_id: EndpointId) -> bool:
        return endpoint_id in allowed and endpoint_id not in taken

    ids = state.by_backlog.least(1, may_take)
    if entry.held is not None:
        ids += [c.endpoint_id for c in entry.held.decision.candidates if may_take(c.endpoint_id)]
    prospects = assess(state, entry, Choices(tuple(dict.fromkeys(ids))), now)
    return min(prospects, key=lambda p: (p.candidate.ttft_s, p.last_used), default=None)
