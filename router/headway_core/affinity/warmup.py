"""The ramp of a new endpoint: its share of the keys grows while its cache fills.

    weight(age) = weight * (1 + floor(4 * age / WARMUP_S)) / 4,   at most weight

A joining endpoint would otherwise take 1/n of all keys at once, each a miss.  It ramps only if
the pool had other endpoints: a pool that starts has no caches to protect.
"""

WARMUP_S = 60.0
"""About one turnover of a busy engine's KV cache (400k tokens at 5-10k new tokens per second)."""
STEPS = 4

_ROUNDING = 1e-6
"""An age is a difference of two instants: at a step's own instant it may come out a little less
than the step, which must count as reached, or it would be due again at once and for ever."""


def warm_share(age_s: float) -> float:
    """Share of the full weight, in quarters, 0.25 .. 1."""
    return min(STEPS, _step(age_s)) / STEPS


def next_step_s(age_s: float) -> float | None:
    """Age at which the share changes next; None when the endpoint is warm."""
    step = _step(age_s)
    return None if step >= STEPS else step * WARMUP_S / STEPS


def _step(age_s: float) -> int:
    return 1 + int(STEPS * age_s / WARMUP_S + _ROUNDING)
