"""When something is due: a heap of instants, each with the name of what it is about.

An entry cannot be taken back; whoever is woken looks whether there is still something to do.
"""

import heapq
from collections.abc import Callable
from itertools import count


class Timers:
    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str]] = []
        self._sequence = count()

    def at(self, when: float, name: str) -> None:
        heapq.heappush(self._heap, (when, next(self._sequence), name))

    def next_due(self, is_alive: Callable[[str], bool]) -> float | None:
        """The first instant whose name is still alive; forgets the dead ones before it."""
        while self._heap and not is_alive(self._heap[0][2]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> list[str]:
        """Names that are due, in the order of their instants."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[2])
        return due
