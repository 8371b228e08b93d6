"""When to read which endpoint's metrics next: often where something happens, seldom elsewhere.

Pure: time and randomness come from outside.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import Random

from headway_core.facts import EndpointId

JITTER = 0.1
"""Each interval is drawn from +- this share, so that routers and endpoints fall out of step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """Bounds of the interval between two reads of one endpoint."""

    min_s: float = 0.1
    max_s: float = 2.0
    scrapes_per_s: float = 20.0
    """Of all endpoints together: at 0.6 ms each (measured: aiohttp, a text of 67 kB) an eightieth
    of a core, which at 500 requests per second adds 25 us to each.  What this router sends is
    charged at once; a view tells only what others do."""
    crowded_s: float = 4.0
    """No endpoint waits longer because of the others: its view stays fresh (5 s by default)."""

    @property
    def tick_s(self) -> float:
        """How often to ask what is due."""
        return self.min_s / 2

    def interval_s(self, last_s: float, *, active: bool, endpoints: int) -> float:
        """The least while the endpoint is active, else twice the last one, within the bounds.

        Active: it holds leases of ours or its numbers changed.  With many endpoints the rate of
        all together is the bound, with very many the freshness of each.
        """
        wanted_s = self.min_s if active else min(2 * last_s, self.max_s)
        return max(wanted_s, min(endpoints / self.scrapes_per_s, self.crowded_s))


@dataclass(slots=True)
class _Turn:
    interval_s: float
    due_s: float
    started_s: float = float("-inf")
    in_flight: bool = False


class Schedule:
    """The turns of all endpoints.  An endpoint is read by one scrape at a time."""

    def __init__(self, cadence: Cadence, rng: Random) -> None:
        self._cadence = cadence
        self._rng = rng
        self._turns: dict[EndpointId, _Turn] = {}

    def __contains__(self, endpoint_id: EndpointId) -> bool:
        return endpoint_id in self._turns

    def replace(self, endpoint_ids: Collection[EndpointId], now: float) -> None:
        """These and no others.  The known keep their turn, new ones come within ``min_s``."""
        min_s = self._cadence.min_s
        self._turns = {
            endpoint_id: self._turns.get(endpoint_id)
            or _Turn(min_s, now + self._rng.random() * min_s)
            for endpoint_id in endpoint_ids
        }

    def start_due(self, now: float, has_leases: Callable[[EndpointId], bool]) -> list[EndpointId]:
        """Endpoints to read now, the longest waiting first; their turns count as started.

        One that slowed down while idle and now has leases does not wait for its slow turn.
        """
        soon = now + self._cadence.tick_s / 2
        least_s = self._cadence.interval_s(0.0, active=True, endpoints=len(self._turns))
        due = [
            (turn.started_s, endpoint_id)
            for endpoint_id, turn in self._turns.items()
            if not turn.in_flight
            and (
                turn.due_s <= soon or (turn.started_s + least_s <= soon and has_leases(endpoint_id))
            )
        ]
        due.sort()
        for _, endpoint_id in due:
            turn = self._turns[endpoint_id]
            turn.started_s, turn.in_flight = now, True
        return [endpoint_id for _, endpoint_id in due]

    def ended(self, endpoint_id: EndpointId, now: float, *, active: bool) -> None:
        """A scrape has ended, well or not; without effect if the endpoint is gone."""
        turn = self._turns.get(endpoint_id)
        if turn is None:
            return
        turn.in_flight = False
        turn.interval_s = self._cadence.interval_s(
            turn.interval_s, active=active, endpoints=len(self._turns)
        )
        jitter = 1 + JITTER * (2 * self._rng.random() - 1)
        turn.due_s = max(now, turn.started_s + turn.interval_s * jitter)
