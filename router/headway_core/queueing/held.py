"""The requests that wait in the router for one endpoint, and which of them goes next.

The engine's own queue is first come, first served and cannot be reordered or taken back; so only
as much is dispatched as keeps the engine busy, and the rest waits here.
"""

from collections.abc import Iterator

from headway_core.estimate.work import NO_WORK, Work
from headway_core.policy import QueueOrder
from headway_core.queueing.orders import SHORT_FIRST, SORTS_OUT_LATE, is_late, key
from headway_core.tracking import Tracked

OLDEST_EVERY = 8
"""One dispatch in so many goes to the request that waits longest: nobody starves."""

_SIZES = 24
"""Requests are counted by size in powers of two of their tokens."""


class HeldQueue:
    """Dispatch takes O(held here); everything else is O(1)."""

    def __init__(self) -> None:
        self._on_time: dict[str, Tracked] = {}
        self._late: dict[str, Tracked] = {}
        self._work = NO_WORK
        self._by_size = [NO_WORK] * _SIZES
        self._dispatches = 0

    def __len__(self) -> int:
        return len(self._on_time) + len(self._late)

    def __iter__(self) -> Iterator[Tracked]:
        yield from self._on_time.values()
        yield from self._late.values()

    @property
    def work(self) -> Work:
        """All that is held."""
        return self._work

    def add(self, entry: Tracked) -> None:
        self._on_time[entry.request_id] = entry
        self._count(entry.held_work, plus=True)

    def discard(self, entry: Tracked) -> bool:
        """Take it out before its turn.  False: it is not here."""
        if self._on_time.pop(entry.request_id, None) is not None:
            self._count(entry.held_work, plus=False)
        elif self._late.pop(entry.request_id, None) is not None:
            self._work = self._work.minus(entry.held_work)
        else:
            return False
        return True

    def next_entry(self, order: QueueOrder, now: float) -> Tracked | None:
        """Whose turn it is; it stays until ``dispatched``."""
        if order in SORTS_OUT_LATE:
            self._sort_out_late(now)
        if self._dispatches % OLDEST_EVERY == OLDEST_EVERY - 1:
            return min(self._late.values() or self._on_time.values(), key=_age, default=None)
        if self._on_time:
            return min(self._on_time.values(), key=lambda entry: key(order, entry, now))
        return min(self._late.values(), key=_age, default=None)

    def dispatched(self, entry: Tracked) -> None:
        self.discard(entry)
        self._dispatches += 1

    def ahead(self, order: QueueOrder, tokens: float) -> Work:
        """Work that would go before a request of that size which arrived now; approximate."""
        if order not in SHORT_FIRST:
            return self._work
        total = NO_WORK
        for size in range(_size(tokens) + 1):
            total = total.plus(self._by_size[size])
        return total

    def in_order(self, order: QueueOrder, now: float) -> list[Tracked]:
        """Everyone in the order of their turns."""
        on_time = sorted(self._on_time.values(), key=lambda entry: key(order, entry, now))
        return on_time + sorted(self._late.values(), key=_age)

    def _sort_out_late(self, now: float) -> None:
        for entry in [e for e in self._on_time.values() if is_late(e, now)]:
            del self._on_time[entry.request_id]
            self._late[entry.request_id] = entry
            size = _size(entry.held_work.tokens)
            self._by_size[size] = self._by_size[size].minus(entry.held_work)

    def _count(self, work: Work, *, plus: bool) -> None:
        size = _size(work.tokens)
        if plus:
            self._work = self._work.plus(work)
            self._by_size[size] = self._by_size[size].plus(work)
        else:
            self._work = self._work.minus(work)
            self._by_size[size] = self._by_size[size].minus(work)


def _age(entry: Tracked) -> tuple[float, int]:
    return (entry.arrived, entry.sequence)


def _size(tokens: float) -> int:
    return min(_SIZES - 1, int(tokens).bit_length())
