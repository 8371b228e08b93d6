"""DualMap's queues in the router, one per instance: longest cached prefix first."""

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass

from headway_core.facts import EndpointId, InferenceRequest


@dataclass(slots=True, eq=False)
class Waiting:
    """A request in an instance's queue.  ``order`` is its place: (-hit, arrival, number)."""

    request: InferenceRequest
    pair: tuple[EndpointId, EndpointId]
    arrived: float
    number: int
    at: EndpointId
    hit_tokens: int

    @property
    def order(self) -> tuple[int, float, int]:
        return (-self.hit_tokens, self.arrived, self.number)

    @property
    def miss_tokens(self) -> int:
        return self.request.prompt_tokens - self.hit_tokens

    def other(self) -> EndpointId:
        """Its candidate where it does not stand now."""
        a, b = self.pair
        return b if self.at == a else a


class Queue:
    def __init__(self) -> None:
        self._entries: list[Waiting] = []
        self.miss_tokens = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._entries)

    def add(self, entry: Waiting) -> None:
        insort(self._entries, entry, key=lambda e: e.order)
        self.miss_tokens += entry.miss_tokens

    def remove(self, entry: Waiting) -> None:
        self._entries.remove(entry)
        self.miss_tokens -= entry.miss_tokens

    def pop(self) -> Waiting:
        entry = self._entries[0]
        self.remove(entry)
        return entry

    def ahead(self, order: tuple[int, float, int]) -> int:
        """Miss tokens of those in front of that place."""
        return sum(e.miss_tokens for e in self._entries if e.order < order)

    def oldest(self) -> float | None:
        """When the one that waits longest arrived."""
        return min((e.arrived for e in self._entries), default=None)
