"""The rate at which 90 % of the arrivals are within their SLO, in as few runs as it takes."""

from collections.abc import Callable, Generator
from dataclasses import dataclass

from headway_cli.compare.summary import crossing

LEVEL = 0.9
FURTHEST = 64
"""Rates away from the first one."""

Search = Generator[int, float, "Knee | None"]
"""Yields the number of a rate, is sent the attainment there."""


@dataclass(frozen=True, slots=True)
class Knee:
    rate_per_s: float
    """Interpolated between two neighbours."""
    below: int
    """The number of the lower one."""


def search(start: int, rate_per_s: Callable[[int], float]) -> Search:
    """Steps that double until the level is crossed, then halves of what is left.

    None: it is not crossed within reach.
    """
    known: dict[int, float] = {}

    def meets(number: int) -> Generator[int, float, bool]:
        if number not in known:
            known[number] = yield number
        return known[number] >= LEVEL

    low = high = start
    step = 1
    if (yield from meets(start)):
        while (yield from meets(high)):
            low, high, step = high, high + step, 2 * step
            if high > start + FURTHEST:
                return None
    else:
        while not (yield from meets(low)):
            low, high, step = low - step, low, 2 * step
            if low < start - FURTHEST:
                return None
    while high - low > 1:
        middle = (low + high) // 2
        if (yield from meets(middle)):
            low = middle
        else:
            high = middle
    points = [(rate_per_s(number), known[number]) for number in (low, high)]
    found = crossing(points, LEVEL)
    assert found is not None
    return Knee(found, low)
