"""Who has the fewest requests, without looking at everybody."""

import heapq
from collections.abc import Callable, Sequence

from headway_core.facts import EndpointId

_OUT_OF_DATE = 8
"""Ranks per endpoint that may be kept."""


class Ranking:
    """A heap of (requests, place in the fleet); ranks that are out of date are passed over."""

    def __init__(self, requests: Callable[[EndpointId], int]) -> None:
        self._requests = requests
        self._places: dict[EndpointId, int] = {}
        self._ranks: list[tuple[int, int, EndpointId]] = []

    def apply(self, serving: Sequence[EndpointId]) -> None:
        """These are ranked from now on; among equals the first of them comes first."""
        self._places = {endpoint_id: place for place, endpoint_id in enumerate(serving)}
        self._ranks = []
        for endpoint_id in serving:
            self.changed(endpoint_id)

    def changed(self, endpoint_id: EndpointId) -> None:
        """It has got another number of requests."""
        place = self._places.get(endpoint_id)
        if place is not None:
            heapq.heappush(self._ranks, (self._requests(endpoint_id), place, endpoint_id))
        if len(self._ranks) > _OUT_OF_DATE * len(self._places):
            self.apply(tuple(self._places))

    def least(self, other_than: EndpointId) -> EndpointId | None:
        """None: there is no other."""
        ranks = self._ranks
        passed_over = None
        found = None
        while ranks and found is None:
            requests, _, endpoint_id = ranks[0]
            if self._requests(endpoint_id) != requests:
                heapq.heappop(ranks)
            elif endpoint_id == other_than:
                passed_over = heapq.heappop(ranks)
            else:
                found = endpoint_id
        if passed_over is not None:
            heapq.heappush(ranks, passed_over)
        return found
