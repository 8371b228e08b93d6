"""The least loaded endpoints of a pool, found in O(log endpoints) instead of by a scan.

One lazy heap per kind of engine: within a kind the least backlog gives the least TTFT, between
kinds the caller compares.  A changed backlog pushes a new entry; old ones are dropped when met.
"""

import heapq
from collections.abc import Callable, Hashable, Iterator

from headway_core.facts import EndpointId

_Entry = tuple[float, float, EndpointId]


class LeastBacklog:
    """Endpoints by (backlog in seconds, last use): ties go to the least recently used."""

    def __init__(self) -> None:
        self._heaps: dict[Hashable, list[_Entry]] = {}
        self._kind: dict[EndpointId, Hashable] = {}
        self._current: dict[EndpointId, _Entry] = {}

    def update(
        self, endpoint_id: EndpointId, kind: Hashable, backlog_s: float, last_used: float
    ) -> None:
        entry = (backlog_s, last_used, endpoint_id)
        if self._current.get(endpoint_id) == entry and self._kind[endpoint_id] == kind:
            return
        self._kind[endpoint_id] = kind
        self._current[endpoint_id] = entry
        heap = self._heaps.setdefault(kind, [])
        heapq.heappush(heap, entry)
        if len(heap) > 64 and len(heap) > 8 * len(self._current):
            heap[:] = [e for k, e in self._entries() if k == kind]
            heapq.heapify(heap)

    def remove(self, endpoint_id: EndpointId) -> None:
        self._current.pop(endpoint_id, None)
        self._kind.pop(endpoint_id, None)

    def least(
        self, count: int, admit: Callable[[EndpointId], bool], *, tries: int | None = None
    ) -> list[EndpointId]:
        """Up to ``count`` of each kind, least backlog first, only those that ``admit`` accepts.

        After asking for ``tries`` endpoints of a kind it gives up; None: it asks for all.
        """
        found: list[EndpointId] = []
        for kind, heap in self._heaps.items():
            found += self._least_of(kind, heap, count, admit, tries)
        return found

    def _least_of(
        self,
        kind: Hashable,
        heap: list[_Entry],
        count: int,
        admit: Callable[[EndpointId], bool],
        tries: int | None,
    ) -> list[EndpointId]:
        seen: list[_Entry] = []
        found: list[EndpointId] = []
        while heap and len(found) < count and (tries is None or len(seen) < tries):
            entry = heapq.heappop(heap)
            endpoint_id = entry[2]
            stale = self._current.get(endpoint_id) != entry or self._kind[endpoint_id] != kind
            if stale or (seen and seen[-1] == entry):
                continue
            seen.append(entry)
            if admit(endpoint_id):
                found.append(endpoint_id)
        for entry in seen:
            heapq.heappush(heap, entry)
        return found

    def _entries(self) -> Iterator[tuple[Hashable, _Entry]]:
        for endpoint_id, entry in self._current.items():
            yield self._kind[endpoint_id], entry
