"""The event kernel: calls functions in order of time, and nothing else.

Time is an integer number of nanoseconds, so that two events are due together exactly when they
should be.
"""

import heapq
from collections.abc import Callable
from itertools import count
from math import ceil
from typing import Any

from headway_sim.errors import TimeRanBackwards

NS_PER_S = 1_000_000_000

_Entry = tuple[int, int, int, Callable[[Any], object], Any]


class Kernel:
    """Runs events by time, then priority (low first), then order of scheduling."""

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._sequence = count()
        self._now_ns = 0
        self._events = 0

    @property
    def now_ns(self) -> int:
        return self._now_ns

    @property
    def now_s(self) -> float:
        return self._now_ns / NS_PER_S

    @property
    def events(self) -> int:
        """How many have run."""
        return self._events

    def at(
        self, time_ns: int, call: Callable[[Any], object], argument: Any = None, priority: int = 0
    ) -> None:
        """Call ``call(argument)`` at that instant.  Raises: TimeRanBackwards: it is over."""
        if time_ns < self._now_ns:
            raise TimeRanBackwards(time_ns, self._now_ns)
        heapq.heappush(self._heap, (time_ns, priority, next(self._sequence), call, argument))

    def after(
        self, delay_ns: int, call: Callable[[Any], object], argument: Any = None, priority: int = 0
    ) -> None:
        """``at`` so long from now.  Raises: TimeRanBackwards: ``delay_ns`` is negative."""
        if delay_ns < 0:
            raise TimeRanBackwards(self._now_ns + delay_ns, self._now_ns)
        due_ns = self._now_ns + delay_ns
        heapq.heappush(self._heap, (due_ns, priority, next(self._sequence), call, argument))

    def run(self, until_ns: int | None = None) -> None:
        """Until no event is left, or up to and including ``until_ns``."""
        heap, pop = self._heap, heapq.heappop
        while heap and (until_ns is None or heap[0][0] <= until_ns):
            self._now_ns, _, _, call, argument = pop(heap)
            self._events += 1
            call(argument)
        if until_ns is not None:
            self._now_ns = max(self._now_ns, until_ns)


def ns(seconds: float) -> int:
    """The nearest nanosecond."""
    return round(seconds * NS_PER_S)


def ns_not_before(seconds: float) -> int:
    """The first nanosecond that, read back as seconds, is not before ``seconds``.

    A deadline in seconds is reached then; one that is rounded down would be met too early, and
    a caller that waits for it would wait for ever.
    """
    instant = ceil(seconds * NS_PER_S)
    while instant / NS_PER_S < seconds:
        instant += 1
    return instant
