"""Engine time on the wall clock: dilated, stretched by a straggler, stopped while it hangs.

    engine_ns = anchor + (wall - wall at the anchor) / (dilation * straggle)

Every change of pace moves the anchor, so engine time never jumps.
"""

import time
from collections.abc import Callable

NS_PER_S = 1_000_000_000


class EngineClock:
    def __init__(
        self, dilation: float = 1.0, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        """``dilation``: wall seconds per engine second, > 0."""
        self._monotonic_ns = monotonic_ns
        self._dilation = dilation
        self._straggle = 1.0
        self._stopped = False
        self._anchor_ns = 0
        self._anchor_wall_ns = monotonic_ns()

    @property
    def wall_per_engine(self) -> float:
        return self._dilation * self._straggle

    @property
    def straggle_factor(self) -> float:
        return self._straggle

    @property
    def is_stopped(self) -> bool:
        return self._stopped

    def now_ns(self) -> int:
        if self._stopped:
            return self._anchor_ns
        return self._anchor_ns + int(
            (self._monotonic_ns() - self._anchor_wall_ns) / self.wall_per_engine
        )

    def wall_s_until(self, engine_ns: int) -> float | None:
        """Wall seconds from now; 0 if it is due; None while the clock is stopped."""
        if self._stopped:
            return None
        return max(0, engine_ns - self.now_ns()) * self.wall_per_engine / NS_PER_S

    def wall_s(self, engine_ns: int) -> float:
        """A duration, as somebody outside saw it pass at the configured dilation."""
        return engine_ns * self._dilation / NS_PER_S

    def straggle(self, factor: float) -> None:
        """Run ``factor`` times slower than configured; 1 ends it."""
        self._move_anchor()
        self._straggle = factor

    def stop(self) -> None:
        self._move_anchor()
        self._stopped = True

    def start(self) -> None:
        self._move_anchor()
        self._stopped = False

    def _move_anchor(self) -> None:
        self._anchor_ns = self.now_ns()
        self._anchor_wall_ns = self._monotonic_ns()
