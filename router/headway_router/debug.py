"""The debug page: everything the router knows of its pools, as JSON for people and tools."""

from collections.abc import Mapping

import orjson

from headway_core.facts import EndpointId
from headway_core.policy import Pool
from headway_core.router import Router
from headway_core.stats import PoolStats


def debug_page(
    core: Router,
    *,
    now: float,
    process: Mapping[str, object],
    configuration: Mapping[str, object],
    requests: Mapping[str, Mapping[str, int]],
    predicted_tokens: Mapping[str, Mapping[str, int]],
    caches: Mapping[EndpointId, Mapping[str, object]],
) -> bytes:
    """``process``, ``configuration``, ``requests`` (by pool, then outcome), ``predicted_tokens``
    (``prompt`` and ``hit``, by pool) and ``caches`` (followed by KV events) appear as given."""
    stats = core.stats(now)
    page = {
        "process": process,
        "configuration": configuration,
        "requests": requests,
        "predicted_tokens": predicted_tokens,
        "caches": caches,
        "leases_outstanding": core.leases_outstanding,
        "held": core.held,
        "ignored_events": core.ignored_events,
        "pools": {pool.name: _pool(pool, stats[pool.name]) for pool in core.fleet.pools},
    }
    return orjson.dumps(page, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _pool(pool: Pool, stats: PoolStats) -> dict[str, object]:
    return {
        "models": pool.models,
        "slo": pool.slo,
        "policy": pool.policy,
        "held": stats.held,
        "leases": stats.leases,
        "endpoints": stats.endpoints,
    }
