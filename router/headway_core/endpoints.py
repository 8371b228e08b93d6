"""The endpoints of a pool as they come and go, who may serve, and the rings over them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random

from headway_core.affinity.rings import DualRing
from headway_core.affinity.warmup import next_step_s, warm_share
from headway_core.facts import Endpoint, EndpointId, EndpointState, EngineView, Role


@dataclass(slots=True)
class EndpointRecord:
    """One endpoint and what is known of it.  ``joined`` None: it was there from the start."""

    endpoint: Endpoint
    joined: float | None
    last_used: float
    view: EngineView | None = None
    scraped: float | None = None
    is_reachable: bool = True
    foreign_waiting: int = 0
    """Requests that wait there and are not ours: other routers', by the last scrape."""

    def is_fresh(self, now: float, stale_after_s: float) -> bool:
        return self.scraped is not None and now - self.scraped < stale_after_s


class PoolEndpoints:
    """The records of one pool, by id, and a dual ring per role."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.records: dict[EndpointId, EndpointRecord] = {}
        """To read."""
        self._rings: dict[Role, DualRing] = {}
        self._uses = count(1)
        self.serving: frozenset[EndpointId] = frozenset()
        """Who may get new requests: ready and reachable ones.

        If none is reachable, all ready ones: a router that cannot scrape must not stop traffic.
        """
        self._latest_scrape: float | None = None

    def __iter__(self) -> Iterator[EndpointRecord]:
        return iter(self.records.values())

    def ring(self, role: Role) -> DualRing | None:
        """The ring of the endpoints that are ready, reachable or not; None where there are none."""
        return self._rings.get(role)

    def apply(
        self, endpoints: Sequence[Endpoint], now: float
    ) -> tuple[list[EndpointRecord], list[EndpointRecord]]:
        """Take over the fleet's list; returns who joined and who is gone."""
        wanted = {e.endpoint_id: e for e in endpoints}
        gone = [r for i, r in self.records.items() if i not in wanted]
        joined_at = now if self.records else None
        for record in gone:
            del self.records[record.endpoint.endpoint_id]
        joined = []
        for endpoint_id, endpoint in wanted.items():
            if record_ := self.records.get(endpoint_id):
                record_.endpoint = endpoint
            else:
                # Unused endpoints come before used ones, among themselves in random order.
                record = EndpointRecord(endpoint, joined_at, self._rng.random() - 1)
                self.records[endpoint_id] = record
                joined.append(record)
        self.refresh(now)
        return joined, gone

    def refresh(self, now: float) -> None:
        """Bring rings and ``serving`` up to date; rebuilds a ring only if a weight changed."""
        ready = [r for r in self.records.values() if r.endpoint.state is EndpointState.READY]
        for role in Role:
            weights = {
                r.endpoint.endpoint_id: r.endpoint.weight * _share(r, now)
                for r in ready
                if r.endpoint.role is role
            }
            ring = self._rings.get(role)
            if not weights:
                self._rings.pop(role, None)
            elif ring is None or ring.weights != weights:
                self._rings[role] = DualRing(weights)
        reachable = frozenset(r.endpoint.endpoint_id for r in ready if r.is_reachable)
        self.serving = reachable or frozenset(r.endpoint.endpoint_id for r in ready)

    def next_warm_step(self, now: float) -> float | None:
        """When the weight of a warming endpoint rises next."""
        steps = [
            r.joined + step
            for r in self.records.values()
            if r.joined is not None and (step := next_step_s(now - r.joined)) is not None
        ]
        return min(steps, default=None)

    def is_warming(self, endpoint_id: EndpointId, now: float) -> bool:
        return _share(self.records[endpoint_id], now) < 1

    def scraped(
        self, endpoint_id: EndpointId, view: EngineView, foreign_waiting: int, now: float
    ) -> None:
        record = self.records[endpoint_id]
        record.view, record.scraped, record.foreign_waiting = view, now, foreign_waiting
        self._latest_scrape = now

    def set_reachable(self, endpoint_id: EndpointId, is_reachable: bool, now: float) -> bool:
        """False: that is known already."""
        record = self.records[endpoint_id]
        if record.is_reachable == is_reachable:
            return False
        record.is_reachable = is_reachable
        self.refresh(now)
        return True

    def any_fresh(self, now: float, stale_after_s: float) -> bool:
        """Can any view be fresh?  O(1): by the latest scrape of all."""
        return self._latest_scrape is not None and now - self._latest_scrape < stale_after_s

    def used(self, endpoint_id: EndpointId) -> float:
        """Mark as most recently used; returns the new order."""
        self.records[endpoint_id].last_used = order = float(next(self._uses))
        return order


def _share(record: EndpointRecord, now: float) -> float:
    return 1.0 if record.joined is None else warm_share(now - record.joined)
