"""How long to wait before the next try: longer and longer, and never all routers together."""

from random import Random

FIRST_S = 0.5
LAST_S = 30.0


class Backoff:
    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._failures = 0

    def next_s(self) -> float:
        """After a failure: anything up to 0.5 s x 2^n, 30 s at most."""
        bound_s: float = min(FIRST_S * 2 ** min(self._failures, 10), LAST_S)
        self._failures += 1
        return self._rng.random() * bound_s

    def worked(self) -> None:
        self._failures = 0
