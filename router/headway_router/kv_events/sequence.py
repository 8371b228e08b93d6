"""Which batch of an engine's stream is the next one, and what it means if it is not."""

from collections import OrderedDict
from enum import Enum, auto

REMEMBERED = 4096
"""Batches that a replay may have brought while they also waited in the subscriber's queue."""


class Arrival(Enum):
    NEXT = auto()
    REPEATED = auto()
    """It was here already: a replay has overtaken it."""
    GAP = auto()
    """Others before it are missing."""
    RESTARTED = auto()
    """The numbers began again, so this is another process with an empty cache."""


class Sequence:
    """Numbers are contiguous from 0 in each process of an engine.

    A number below the next one is a repetition if the content is the same, and another process
    otherwise: clocks are not asked, as they jump.
    """

    def __init__(self) -> None:
        self.next: int | None = None
        """The number that should come; None: whatever comes first."""
        self._seen: OrderedDict[int, int] = OrderedDict()

    def arrival(self, number: int, payload: bytes) -> Arrival:
        if self.next is None or number == self.next:
            return Arrival.NEXT
        if number > self.next:
            return Arrival.GAP
        return Arrival.REPEATED if self.is_known(number, payload) else Arrival.RESTARTED

    def is_known(self, number: int, payload: bytes) -> bool:
        return self._seen.get(number) == hash(payload)

    def took(self, number: int, payload: bytes) -> None:
        self.next = number + 1
        self._seen[number] = hash(payload)
        self._seen.move_to_end(number)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def restart(self, number: int | None = 0) -> None:
        """Expect ``number``, of a process of which nothing is known."""
        self.next = number
        self._seen.clear()
