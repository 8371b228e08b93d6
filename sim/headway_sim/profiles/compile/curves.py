"""Interpolation of measured latencies, in logarithms: a power law between two neighbours."""

import numpy as np

from headway_sim.profiles.compile.table import Floats

_Points = dict[float, float]


class Curve:
    """ln latency over ln x; beyond the last point it rises with ``slope``, below the first it is
    constant.
    """

    def __init__(self, points: _Points, slope: float) -> None:
        self._x = np.log(np.array(sorted(points)))
        self._y = np.log(np.array([points[x] for x in sorted(points)]))
        self._slope = slope

    def ln(self, x: Floats) -> Floats:
        ln_x = np.log(x)
        beyond = np.maximum(0.0, ln_x - self._x[-1])
        found: Floats = np.interp(ln_x, self._x, self._y) + self._slope * beyond
        return found

    def __call__(self, x: Floats) -> Floats:
        found: Floats = np.exp(self.ln(x))
        return found


class Surface:
    """A curve over x at every measured batch size, and a power law in between.

    Beyond the largest batch it rises with slope 1.
    """

    def __init__(self, batch: Floats, x: Floats, latency: Floats, slope: float) -> None:
        points: dict[float, _Points] = {}
        for b, at, value in zip(batch.tolist(), x.tolist(), latency.tolist(), strict=True):
            known = points.setdefault(b, {})
            known[at] = min(value, known.get(at, value))
        self.batches = np.array(sorted(points))
        self.x = np.unique(x)
        self._curves = [Curve(points[b], slope) for b in self.batches.tolist()]

    def grid(self, batches: Floats, x: Floats) -> Floats:
        """[batch, x]."""
        rows = np.array([curve.ln(x) for curve in self._curves])
        ln_b, known = np.log(batches), np.log(self.batches)
        beyond = np.maximum(0.0, ln_b - known[-1])
        columns = [np.interp(ln_b, known, column) + beyond for column in rows.T]
        found: Floats = np.exp(np.array(columns).T)
        return found


def least(keys: Floats, latency: Floats) -> _Points:
    """The fastest kernel at every key."""
    points: _Points = {}
    for key, value in zip(keys.tolist(), latency.tolist(), strict=True):
        points[key] = min(value, points.get(key, value))
    return points
