"""Sums up the core's state for the gauges."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from headway_core.router import Router
from headway_router.certificates import Certificates
from headway_router.kv_events.outcomes import CacheKnowledge
from headway_router.metric_labels import EndpointCondition
from headway_router.metric_readings import Readings, SnapshotReadings
from headway_router.openai.ratios import TokenRatios


def readings(
    core: Router,
    config_problems: int,
    certificates: Certificates | None,
    now: float,
    caches: Mapping[tuple[str, CacheKnowledge], int] = MappingProxyType({}),
    ratios: TokenRatios | None = None,
    snapshot: SnapshotReadings | None = None,
) -> Readings:
    """O(endpoints): once for each page of metrics."""
    stale_after_s = {pool.name: pool.policy.stale_after_s for pool in core.fleet.pools}
    endpoints: Counter[tuple[str, EndpointCondition]] = Counter()
    stale = dict.fromkeys(stale_after_s, 0)
    held = {}
    for name, pool in core.stats(now).items():
        held[name] = pool.held
        endpoints.update({(name, condition): 0 for condition in EndpointCondition})
        for endpoint in pool.endpoints:
            endpoints[name, EndpointCondition(endpoint.state)] += 1
            if endpoint.view_age_s is None or endpoint.view_age_s >= stale_after_s[name]:
                stale[name] += 1
    return Readings(
        leases_outstanding=core.leases_outstanding,
        held=held,
        endpoints=endpoints,
        stale_endpoints=stale,
        tokens_per_byte={p.name: ratios.tokens_per_byte(p.model) for p in core.fleet.pools}
        if ratios
        else {},
        config_problems=config_problems,
        certificate_problems=None if certificates is None else int(certificates.problem != ""),
        certificate_expires_s=None if certificates is None else certificates.pair().expires_s,
        caches=caches,
        snapshot=snapshot,
    )
