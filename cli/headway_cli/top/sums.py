"""What several routers' debug pages say of the same pools, added up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Page = Mapping[str, Any]
"""The debug page of one router."""


@dataclass(slots=True, kw_only=True)
class EndpointSum:
    name: str
    group: str
    state: str
    """Of the routers that differ, the one that is not ready."""
    leases: int = 0
    held: int = 0
    unprefilled: int = 0
    backlog_s: float = 0.0
    """Of all routers' work."""
    view_age_s: float | None = None
    """Of the freshest scrape, as the next three; None: there was none."""
    waiting: int | None = None
    running: int | None = None
    kv_usage: float | None = None


@dataclass(slots=True, kw_only=True)
class PoolSum:
    """Counts since the routers began."""

    requests: dict[str, int] = field(default_factory=dict)
    """By outcome."""
    prompt_tokens: int = 0
    hit_tokens: int = 0
    held: int = 0
    leases: int = 0
    endpoints: dict[str, EndpointSum] = field(default_factory=dict)
    """By address."""


def add_up(pages: Sequence[Page]) -> dict[str, PoolSum]:
    """By pool, in the order of their names."""
    pools: dict[str, PoolSum] = {}
    for page in pages:
        for name, shown in page["pools"].items():
            pool = pools.setdefault(name, PoolSum())
            pool.held += shown["held"]
            pool.leases += shown["leases"]
            for outcome, number in page["requests"].get(name, {}).items():
                pool.requests[outcome] = pool.requests.get(outcome, 0) + number
            pool.prompt_tokens += page["predicted_tokens"]["prompt"].get(name, 0)
            pool.hit_tokens += page["predicted_tokens"]["hit"].get(name, 0)
            for endpoint in shown["endpoints"]:
                _add(pool.endpoints, endpoint)
    return dict(sorted(pools.items()))


def _add(endpoints: dict[str, EndpointSum], shown: Mapping[str, Any]) -> None:
    known = endpoints.setdefault(
        shown["endpoint_id"],
        EndpointSum(name=shown["name"], group=shown["group"], state=shown["state"]),
    )
    if shown["state"] != "ready":
        known.state = shown["state"]
    known.leases += shown["leases"]
    known.held += shown["held"]
    known.unprefilled += shown["unprefilled"]
    known.backlog_s += shown["backlog_s"]
    age_s = shown["view_age_s"]
    if age_s is not None and (known.view_age_s is None or age_s < known.view_age_s):
        known.view_age_s = age_s
        known.waiting, known.running = shown["waiting"], shown["running"]
        known.kv_usage = shown["kv_usage"]
