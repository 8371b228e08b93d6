"""Counts of one pool since the process began, as reports carry them."""

from dataclasses import dataclass

from headway_router.durations import Durations


@dataclass(slots=True)
class PoolCounts:
    ttft: Durations
    requests: int = 0
    prompt_tokens: int = 0
    hit_tokens: int = 0
    with_slo: int = 0
    """First tokens of requests with a target, and those that came in time."""
    met_slo: int = 0
