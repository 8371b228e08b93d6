"""Prometheus text, written so that a scrape every 100 ms costs little.

A family keeps its text and writes it anew only after it has changed.  The text is that of vLLM's
client library: labels by name, values as floats, and a ``_created`` gauge after counters,
histograms and summaries.
"""

import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

from prometheus_client.utils import floatToGoString

Labels = Mapping[str, str]


def number(value: float) -> str:
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]  # the library's own
    return text


def label_text(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = ",".join(f'{name}="{_escaped(labels[name])}"' for name in sorted(labels))
    return f"{{{pairs}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


class Family(ABC):
    """Name, help and type of a metric, and its text."""

    def __init__(self, name: str, kind: str, text: str) -> None:
        self._head = f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
        self._text: str | None = None

    def changed(self) -> None:
        self._text = None

    def render(self) -> str:
        if self._text is None:
            self._text = self._head + "".join(self._lines())
        return self._text

    @abstractmethod
    def _lines(self) -> list[str]: ...


class _Created:
    """The ``_created`` family of a metric: one time stamp for each set of labels."""

    def __init__(self, name: str, text: str, clock: Callable[[], float]) -> None:
        self._name = f"{name}_created"
        self._head = f"# HELP {self._name} {text}\n# TYPE {self._name} gauge\n"
        self._clock = clock
        self._lines: list[str] = []

    def add(self, labels: Labels) -> None:
        self._lines.append(f"{self._name}{label_text(labels)} {number(self._clock())}\n")

    def lines(self) -> list[str]:
        return [self._head, *self._lines] if self._lines else []


class Gauge(Family):
    """Each set of labels shows once it is set."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(name, "gauge", text)
        self._name = name
        self._values: dict[str, float] = {}

    def set(self, value: float, labels: Labels) -> None:
        self.set_text(value, label_text(labels))

    def set_text(self, value: float, labels: str) -> None:
        """As ``set``, with the labels as text already: for what every scrape sets."""
        if self._values.get(labels) != value:
            self._values[labels] = value
            self.changed()

    def _lines(self) -> list[str]:
        return [f"{self._name}{labels} {number(v)}\n" for labels, v in self._values.items()]


class Counter(Family):
    """Without ``_total`` in its name; a set of labels shows once it is touched."""

    def __init__(self, name: str, text: str, clock: Callable[[], float] = time.time) -> None:
        super().__init__(f"{name}_total", "counter", text)
        self._name = f"{name}_total"
        self._values: dict[str, float] = {}
        self._created = _Created(name, text, clock)

    def touch(self, labels: Labels) -> str:
        key = label_text(labels)
        if key not in self._values:
            self._values[key] = 0.0
            self._created.add(labels)
            self.changed()
        return key

    def add(self, amount: float, labels: Labels) -> None:
        self.add_text(amount, self.touch(labels))

    def add_text(self, amount: float, key: str) -> None:
        """As ``add``, with what ``touch`` returned."""
        if amount:
            self._values[key] += amount
            self.changed()

    def raise_to(self, value: float, key: str) -> None:
        """For a count that somebody else keeps."""
        self.add_text(value - self._values[key], key)

    def _lines(self) -> list[str]:
        own = [f"{self._name}{labels} {number(v)}\n" for labels, v in self._values.items()]
        return own + self._created.lines()


class _Buckets:
    """Counts of one histogram: ``counts[i]`` values lie in (bounds[i-1], bounds[i]]."""

    __slots__ = ("counts", "prefixes", "suffix", "total")

    def __init__(self, name: str, labels: Labels, bounds: Sequence[float]) -> None:
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        edges = [*map(number, bounds), "+Inf"]
        self.prefixes = [f"{name}_bucket{label_text({**labels, 'le': e})} " for e in edges]
        self.suffix = label_text(labels)


class Histogram(Family):
    def __init__(
        self,
        name: str,
        text: str,
        bounds: Sequence[float],
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(name, "histogram", text)
        self._name = name
        self._bounds = bounds
        self._series: dict[str, _Buckets] = {}
        self._created = _Created(name, text, clock)

    def touch(self, labels: Labels) -> str:
        key = label_text(labels)
        if key not in self._series:
            self._series[key] = _Buckets(self._name, labels, self._bounds)
            self._created.add(labels)
            self.changed()
        return key

    def observe(self, value: float, key: str) -> None:
        """``key``: what ``touch`` returned for the labels."""
        series = self._series[key]
        series.counts[bisect_left(self._bounds, value)] += 1
        series.total += value
        self.changed()

    def _lines(self) -> list[str]:
        lines = []
        for series in self._series.values():
            running = 0
            for prefix, count in zip(series.prefixes, series.counts, strict=True):
                running += count
                lines.append(f"{prefix}{running}.0\n")
            lines.append(f"{self._name}_count{series.suffix} {running}.0\n")
            lines.append(f"{self._name}_sum{series.suffix} {number(series.total)}\n")
        return lines + self._created.lines()


class Summary(Family):
    """Count and sum."""

    def __init__(self, name: str, text: str, clock: Callable[[], float] = time.time) -> None:
        super().__init__(name, "summary", text)
        self._name = name
        self._values: dict[str, tuple[int, float]] = {}
        self._created = _Created(name, text, clock)

    def observe(self, value: float, labels: Labels) -> None:
        key = label_text(labels)
        if key not in self._values:
            self._created.add(labels)
        count, total = self._values.get(key, (0, 0.0))
        self._values[key] = count + 1, total + value
        self.changed()

    def _lines(self) -> list[str]:
        lines = []
        for labels, (count, total) in self._values.items():
            lines.append(f"{self._name}_count{labels} {number(count)}\n")
            lines.append(f"{self._name}_sum{labels} {number(total)}\n")
        return lines + self._created.lines()
