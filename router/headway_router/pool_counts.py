"""Counts of one pool since the process began, as reports carry them."""

from bisect import bisect_left
from dataclasses import dataclass


class TtftHistogram:
    """``counts`` has one more than ``bounds``: what is above the last of them."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)

    def observe(self, ttft_s: float) -> None:
        self.counts[bisect_left(self.bounds, ttft_s)] += 1


@dataclass(slots=True)
class PoolCounts:
    ttft: TtftHistogram
    requests: int = 0
    prompt_tokens: int = 0
    hit_tokens: int = 0
    with_slo: int = 0
    """First tokens of requests with a target, and those that came in time."""
    met_slo: int = 0
