"""The requests that wait in the router for one endpoint, and which of them goes next.

The engine's own queue is first come, first served and cannot be reordered or taken back; so only
as much is dispatched as keeps the engine busy, and the rest waits here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from headway_core.estimate.work import NO_WORK, Work
from headway_core.policy import QueueOrder
from headway_core.queueing.orders import SHORT_FIRST, SORTS_OUT_LATE, is_late, ordered_by
from headway_core.tracking import Tracked

OLDEST_EVERY = 8
"""One dispatch in so many goes to the request that waits longest: nobody starves."""


@dataclass(slots=True)
class _Shelf:
    """Requests of one priority and about one size, and their work."""

    entries: int = 0
    work: Work = NO_WORK


class HeldQueue:
    """Dispatch takes O(held here), ``ahead`` O(sizes and priorities), everything else O(1)."""

    def __init__(self) -> None:
        self._on_time: dict[str, Tracked] = {}
        self._late: dict[str, Tracked] = {}
        self._shelves: dict[tuple[int, int], _Shelf] = {}
        """Those on time, by priority and by size in powers of two of their tokens."""
        self._work = NO_WORK
        self._dispatches = 0
        self.size = 0
        """To read; ``len`` at a fifth of its cost, where it is asked several times per request."""

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Tracked]:
        yield from self._on_time.values()
        yield from self._late.values()

    @property
    def work(self) -> Work:
        """All that is held."""
        return self._work

    def add(self, entry: Tracked) -> None:
        self._work = self._work.plus(entry.held_work)
        self.size += 1
        self._add_on_time(entry)

    def discard(self, entry: Tracked) -> bool:
        """Take it out before its turn.  False: it is not here."""
        if entry.request_id in self._on_time:
            self._take_on_time(entry)
        elif self._late.pop(entry.request_id, None) is None:
            return False
        self.size -= 1
        # Sums of floats drift, but what is empty is nothing.
        self._work = self._work.minus(entry.held_work) if self.size else NO_WORK
        return True

    def next_entry(self, order: QueueOrder, now: float) -> Tracked | None:
        """Whose turn it is; it stays until ``dispatched``."""
        self._tell_late_apart(order, now)
        if self._dispatches % OLDEST_EVERY == OLDEST_EVERY - 1:
            return min(self._late.values() or self._on_time.values(), key=_age, default=None)
        if self._on_time:
            return min(self._on_time.values(), key=ordered_by(order, now))
        return min(self._late.values(), key=_late_turn, default=None)

    def dispatched(self, entry: Tracked) -> None:
        self.discard(entry)
        self._dispatches += 1

    def ahead(self, order: QueueOrder, priority: int, tokens: float) -> Work:
        """Work that would go before a request of that size which arrived now.

        Approximate: of its own priority it counts those of up to about its size where the short
        go first, else all.  The late go after it, as do lower priorities.
        """
        size = _size(tokens) if order in SHORT_FIRST else None
        ahead = NO_WORK
        for (other, other_size), shelf in self._shelves.items():
            if other > priority or (other == priority and (size is None or other_size <= size)):
                ahead = ahead.plus(shelf.work)
        return ahead

    def in_order(self, order: QueueOrder, now: float) -> list[Tracked]:
        """Everyone in the order of their turns."""
        self._tell_late_apart(order, now)
        on_time = sorted(self._on_time.values(), key=ordered_by(order, now))
        return on_time + sorted(self._late.values(), key=_late_turn)

    def _tell_late_apart(self, order: QueueOrder, now: float) -> None:
        if order in SORTS_OUT_LATE:
            for entry in [e for e in self._on_time.values() if is_late(e, now)]:
                self._take_on_time(entry)
                self._late[entry.request_id] = entry
        elif self._late:  # The order has changed to one that makes no difference.
            for entry in self._late.values():
                self._add_on_time(entry)
            self._late.clear()

    def _add_on_time(self, entry: Tracked) -> None:
        self._on_time[entry.request_id] = entry
        shelf = self._shelves.setdefault(_shelf_of(entry), _Shelf())
        shelf.entries += 1
        shelf.work = shelf.work.plus(entry.held_work)

    def _take_on_time(self, entry: Tracked) -> None:
        del self._on_time[entry.request_id]
        shelf = self._shelves[_shelf_of(entry)]
        shelf.entries -= 1
        shelf.work = shelf.work.minus(entry.held_work)
        if not shelf.entries:
            del self._shelves[_shelf_of(entry)]


def _shelf_of(entry: Tracked) -> tuple[int, int]:
    return (entry.priority, _size(entry.held_work.tokens))


def _size(tokens: float) -> int:
    return int(tokens).bit_length()


def _age(entry: Tracked) -> tuple[float, int]:
    return (entry.arrived, entry.sequence)


def _late_turn(entry: Tracked) -> tuple[float, ...]:
    return (-entry.priority, entry.arrived, entry.sequence)
