"""What a router has seen of each pool, for its reports."""

from collections.abc import Mapping

from headway_core.facts import EndpointId, EndpointState
from headway_core.policy import Pool
from headway_core.router import Router
from headway_core.stats import EndpointStats, PoolStats
from headway_proto.v1alpha1 import discovery_pb2 as pb
from headway_router.metrics import Metrics


def fill_in(
    request: pb.ReportRequest,
    core: Router,
    metrics: Metrics,
    *,
    pools: Mapping[str, str],
    endpoint_uids: Mapping[EndpointId, str],
    now: float,
) -> None:
    """``pools``: uids by name.  O(endpoints), once for each report."""
    stats = core.stats(now)
    for pool in core.fleet.pools:
        if uid := pools.get(pool.name):
            request.pools.append(_traffic(uid, stats[pool.name], metrics))
            request.drains.extend(_drains(pool, stats[pool.name], endpoint_uids))


def _traffic(uid: str, stats: PoolStats, metrics: Metrics) -> pb.PoolTraffic:
    seen = metrics.traffic(stats.pool)
    return pb.PoolTraffic(
        uid=uid,
        requests=seen.requests,
        prompt_tokens=seen.prompt_tokens,
        hit_tokens=seen.hit_tokens,
        queued_requests=stats.held,
        with_slo=seen.with_slo,
        met_slo=seen.met_slo,
        ttft_bounds_seconds=seen.ttft.bounds_s,
        ttft_counts=seen.ttft.counts,
    )


def _drains(pool: Pool, stats: PoolStats, uids: Mapping[EndpointId, str]) -> list[pb.DrainProgress]:
    by_id = {endpoint.endpoint_id: endpoint for endpoint in stats.endpoints}
    return [
        _progress(uids[endpoint.endpoint_id], by_id[endpoint.endpoint_id])
        for endpoint in pool.endpoints
        if endpoint.state is EndpointState.DRAINING and endpoint.endpoint_id in uids
    ]


def _progress(uid: str, stats: EndpointStats) -> pb.DrainProgress:
    return pb.DrainProgress(
        endpoint_uid=uid,
        leases=stats.leases,
        running=stats.running,
        waiting=stats.waiting,
        view_age_seconds=stats.view_age_s,
    )
