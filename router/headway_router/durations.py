"""A histogram for what is observed several times per request, at a quarter of a microsecond each.

Prometheus' own takes 1.3 us: it checks, locks and adds one by one.  Here one event loop writes
and a bucket is found by bisection; the page adds them up.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Durations:
    """Counts by bucket, of one series.  ``bounds_s`` are upper bounds, in rising order."""

    __slots__ = ("_sum_s", "bounds_s", "counts")

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self.bounds_s = tuple(bounds_s)
        self.counts = [0] * (len(self.bounds_s) + 1)
        """One more than bounds, not cumulative; to read."""
        self._sum_s = 0.0

    def observe(self, duration_s: float) -> None:
        self.counts[bisect_left(self.bounds_s, duration_s)] += 1
        self._sum_s += duration_s

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulative counts by upper bound, as Prometheus writes them, and the sum."""
        seen, buckets = 0, []
        for bound_s, count in zip((*self.bounds_s, float("inf")), self.counts, strict=True):
            seen += count
            le: str = floatToGoString(bound_s)  # type: ignore[no-untyped-call]
            buckets.append((le, float(seen)))
        return buckets, self._sum_s


class DurationsCollector(Collector):
    """Series that differ in one label."""

    def __init__(
        self, name: str, documentation: str, label: str, series: Mapping[str, Durations]
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._label = label
        self._series = series

    def collect(self) -> Iterable[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._documentation, labels=(self._label,))
        for value, durations in self._series.items():
            buckets, sum_s = durations.read()
            family.add_metric((value,), buckets, sum_s)
        yield family
