"""How far predictions are off: the distribution of observed / predicted, for a kind of engine.

P(TTFT <= SLO) is read from it (after RouteBalance, arXiv 2606.17949).  With too few samples the
probability is a step at the estimate.
"""

from bisect import bisect_right, insort
from collections import deque

WINDOW = 512
MIN_SAMPLES = 12


class Residuals:
    """A ring buffer of ratios, kept sorted beside it."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._recent)

    def learn(self, predicted_s: float, observed_s: float) -> None:
        ratio = observed_s / max(predicted_s, 1e-6)
        self._recent.append(ratio)
        insort(self._sorted, ratio)
        if len(self._recent) > WINDOW:
            oldest = self._recent.popleft()
            del self._sorted[bisect_right(self._sorted, oldest) - 1]

    def probability_within(self, predicted_s: float, limit_s: float) -> float:
        """P(observed <= limit) for a prediction.

        share of residuals <= limit_s / predicted_s
        """
        if limit_s <= 0:
            return 0.0
        if len(self._recent) < MIN_SAMPLES:
            return 1.0 if predicted_s <= limit_s else 0.0
        return bisect_right(self._sorted, limit_s / max(predicted_s, 1e-6)) / len(self._sorted)
