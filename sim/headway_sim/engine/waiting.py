"""The queue of requests that wait for admission, under either policy."""

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from headway_sim.engine.config import SchedulingPolicy
from headway_sim.engine.sequence import Sequence


class FcfsQueue:
    """In order of arrival, except that what is put back goes to the front."""

    def __init__(self) -> None:
        # An ordered dict removes an aborted request from the middle in constant time.
        self._sequences: OrderedDict[Sequence, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sequences)

    def __iter__(self) -> Iterator[Sequence]:
        """In the order in which they will be admitted."""
        return iter(self._sequences)

    def push(self, sequence: Sequence) -> None:
        self._sequences[sequence] = None

    def put_back(self, sequences: Iterable[Sequence]) -> None:
        """Return those that were in the queue or running before, first of them first."""
        for sequence in reversed(list(sequences)):
            self._sequences[sequence] = None
            self._sequences.move_to_end(sequence, last=False)

    def head(self) -> Sequence:
        return next(iter(self._sequences))

    def pop(self) -> Sequence:
        return self._sequences.popitem(last=False)[0]

    def remove(self, sequence: Sequence) -> None:
        del self._sequences[sequence]


class PriorityQueue:
    """By (priority, arrival), wherever a request comes from: there is no front to go back to."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[int, int, int], Sequence]] = []
        self._present: set[Sequence] = set()

    def __len__(self) -> int:
        return len(self._present)

    def __iter__(self) -> Iterator[Sequence]:
        """In the order in which they will be admitted."""
        return iter(sorted(self._present, key=lambda sequence: sequence.order))

    def push(self, sequence: Sequence) -> None:
        # Orders are unique (they end in a number), so sequences are never compared.
        heapq.heappush(self._heap, (sequence.order, sequence))
        self._present.add(sequence)

    def put_back(self, sequences: Iterable[Sequence]) -> None:
        for sequence in sequences:
            self.push(sequence)

    def head(self) -> Sequence:
        # Only finished requests are removed, so a dead entry never comes to life again.
        while self._heap[0][1] not in self._present:
            heapq.heappop(self._heap)
        return self._heap[0][1]

    def pop(self) -> Sequence:
        sequence = self.head()
        heapq.heappop(self._heap)
        self._present.remove(sequence)
        return sequence

    def remove(self, sequence: Sequence) -> None:
        self._present.remove(sequence)


WaitingQueue = FcfsQueue | PriorityQueue


def waiting_queue(policy: SchedulingPolicy) -> WaitingQueue:
    return PriorityQueue() if policy == SchedulingPolicy.PRIORITY else FcfsQueue()
