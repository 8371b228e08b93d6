"""Counters for what happens several times per request, at a tenth of a microsecond each.

Prometheus' own take one microsecond: they check and lock, where here one event loop writes.
"""

from collections.abc import Iterable, Sequence

from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector


class Count:
    """One series."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> None:
        """``amount`` >= 0."""
        self.value += amount


class Counts(Collector):
    """A family of series: one per combination of label values, made when it is asked for."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = tuple(labels)
        self._series: dict[tuple[str, ...], Count] = {}

    def labels(self, *values: str) -> Count:
        """Values in the order of the family's labels.  Raises: ValueError."""
        count = self._series.get(values)
        if count is None:
            if len(values) != len(self._labels):
                raise ValueError(f"{self._name} has the labels {self._labels}, got {values}")
            count = self._series[values] = Count()
        return count

    def series(self) -> Iterable[tuple[tuple[str, ...], int]]:
        """Label values, and the number counted."""
        return [(values, count.value) for values, count in self._series.items()]

    def by_label(self) -> dict[str, int]:
        """Of a family with one label: value -> number."""
        return {value: number for (value,), number in self.series()}

    def collect(self) -> Iterable[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, number in self.series():
            family.add_metric(values, number)
        yield family
