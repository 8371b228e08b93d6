"""What the router knows of its pools, as plain numbers: for metrics, debug pages and reports."""

from dataclasses import dataclass

from headway_core.facts import EndpointId, EndpointState
from headway_core.pool_state import PoolState


@dataclass(frozen=True, slots=True)
class EndpointStats:
    endpoint_id: EndpointId
    name: str
    group: str
    state: str
    """ready, warming, draining or unreachable."""
    leases: int
    unprefilled: int
    held: int
    backlog_s: float
    view_age_s: float | None
    """None: never scraped."""
    waiting: int | None
    running: int | None
    kv_usage: float | None
    correction: float
    """Observed / predicted seconds of this endpoint against its group."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    pool: str
    policy_hash: str
    held: int
    leases: int
    endpoints: tuple[EndpointStats, ...]


def pool_stats(state: PoolState, now: float) -> PoolStats:
    """O(endpoints): not for the request path."""
    return PoolStats(
        pool=state.pool.name,
        policy_hash=state.pool.policy.content_hash,
        held=state.held,
        leases=state.ledger.outstanding,
        endpoints=tuple(
            _endpoint_stats(state, record.endpoint.endpoint_id, now) for record in state.endpoints
        ),
    )


def _endpoint_stats(state: PoolState, endpoint_id: EndpointId, now: float) -> EndpointStats:
    record = state.endpoints.records[endpoint_id]
    load, view = state.ledger.loads[endpoint_id], record.view
    return EndpointStats(
        endpoint_id=endpoint_id,
        name=record.endpoint.name,
        group=record.endpoint.group,
        state=_state(state, endpoint_id, now),
        leases=load.leases,
        unprefilled=len(load.unprefilled),
        held=len(state.queues[endpoint_id]),
        backlog_s=state.backlog_s(endpoint_id),
        view_age_s=None if record.scraped is None else now - record.scraped,
        waiting=view.waiting if view else None,
        running=view.running if view else None,
        kv_usage=view.kv_usage if view else None,
        correction=state.latency.endpoints[endpoint_id].correction,
    )


def _state(state: PoolState, endpoint_id: EndpointId, now: float) -> str:
    record = state.endpoints.records[endpoint_id]
    if record.endpoint.state is EndpointState.DRAINING:
        return "draining"
    if not record.is_reachable:
        return "unreachable"
    return "warming" if state.endpoints.is_warming(endpoint_id, now) else "ready"
