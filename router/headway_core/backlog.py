"""The least loaded endpoints of a pool, found in O(log endpoints) instead of by a scan.

One lazy heap per kind of engine: within a kind the least backlog gives the least TTFT, between
kinds the caller compares.  A changed backlog pushes a new entry; old ones are dropped when met.
"""

import heapq
from collections.abc import Callable, Hashable

from headway_core.facts import EndpointId

_Entry = tuple[float, float, EndpointId]

_COMPACT_FROM, _COMPACT_AT = 64, 8
"""A heap is rebuilt when it holds so many entries, and so many times the endpoints."""


class LeastBacklog:
    """Endpoints by (backlog, last use): ties go to the least recently used."""

    def __init__(self) -> None:
        self._heaps: dict[Hashable, list[_Entry]] = {}
        self._current: dict[EndpointId, tuple[Hashable, _Entry]] = {}

    def update(
        self, endpoint_id: EndpointId, kind: Hashable, backlog: float, last_used: float
    ) -> None:
        entry = (backlog, last_used, endpoint_id)
        if self._current.get(endpoint_id) == (kind, entry):
            return
        self._current[endpoint_id] = (kind, entry)
        heap = self._heaps.get(kind)
        if heap is None:
            heap = self._heaps[kind] = []
        heapq.heappush(heap, entry)
        if len(heap) > _COMPACT_FROM and len(heap) > _COMPACT_AT * len(self._current):
            heap[:] = [e for k, e in self._current.values() if k == kind]
            heapq.heapify(heap)

    def remove(self, endpoint_id: EndpointId) -> None:
        self._current.pop(endpoint_id, None)

    def backlog(self, endpoint_id: EndpointId) -> float:
        """Of an endpoint that is in here."""
        return self._current[endpoint_id][1][0]

    def least(
        self,
        count: int,
        admit: Callable[[EndpointId], bool] | None = None,
        *,
        tries: int | None = None,
    ) -> list[EndpointId]:
        """Up to ``count`` of each kind, least backlog first, only those that ``admit`` accepts.

        After asking for ``tries`` endpoints of a kind it gives up; None: it asks for all.
        """
        found: list[EndpointId] = []
        for kind, heap in list(self._heaps.items()):
            found += self._least_of(kind, heap, count, admit, tries)
            if not heap:
                del self._heaps[kind]
        return found

    def _least_of(
        self,
        kind: Hashable,
        heap: list[_Entry],
        count: int,
        admit: Callable[[EndpointId], bool] | None,
        tries: int | None,
    ) -> list[EndpointId]:
        seen: list[_Entry] = []
        found: list[EndpointId] = []
        while heap and len(found) < count and (tries is None or len(seen) < tries):
            entry = heap[0]
            endpoint_id = entry[2]
            if self._current.get(endpoint_id) != (kind, entry) or (seen and seen[-1] == entry):
                heapq.heappop(heap)
                continue
            if admit is None or admit(endpoint_id):
                found.append(endpoint_id)
                if len(found) == count:
                    break
            seen.append(heapq.heappop(heap))
        for entry in seen:
            heapq.heappush(heap, entry)
        return found
