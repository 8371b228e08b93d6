"""The routing core: the one object that the gRPC server and the simulator drive.

State is pushed to it, time is an argument, and nothing happens between calls: the driver calls
``tick`` when ``next_deadline`` is due.  Placing costs O(candidates), never O(endpoints).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from random import Random
from typing import assert_never

from headway_core.errors import DuplicateRequest
from headway_core.events import (
    BlocksRemoved,
    BlocksStored,
    CacheCleared,
    Cancelled,
    Event,
    Failed,
    Finished,
    FirstToken,
    Scraped,
    Unreachable,
    UsageReported,
)
from headway_core.facts import EndpointId, InferenceRequest
from headway_core.outcomes import Course, Explanation, Outcome, Shed, ShedReason
from headway_core.policy import Fleet
from headway_core.pool import PoolRouter
from headway_core.prefix.mirror import Mirror
from headway_core.stats import PoolStats, pool_stats
from headway_core.timers import Timers
from headway_core.tracking import Tracked


class Router:
    """Many pools: their fleet, ledgers, mirrors, estimates and held queues.

    Every call may settle requests that were held; their outcomes are what it returns.  A request
    that was placed ends with exactly one of ``Finished``, ``Failed`` and ``Cancelled``; a second
    one, or one for a request that was shed, changes nothing.  Time does not go back: an earlier
    ``now`` counts as the latest.
    """

    def __init__(self, rng: Random, make_mirror: Callable[[], Mirror] = Mirror) -> None:
        """``make_mirror``: for every pool, what its caches are believed to hold."""
        self._rng = rng
        self._make_mirror = make_mirror
        self._fleet = Fleet()
        self._pools: dict[str, PoolRouter] = {}
        self._by_model: dict[str, PoolRouter] = {}
        self._by_endpoint: dict[EndpointId, list[PoolRouter]] = {}
        self._tracked: dict[str, tuple[PoolRouter, Tracked]] = {}
        self._request_timers = Timers()
        self._pool_timers = Timers()
        self._sequence = count()
        self._settled: list[Outcome] = []
        self._now = float("-inf")
        self.ignored_events: Counter[str] = Counter()
        """Events about requests or endpoints that are not known (any more), by kind."""

    @property
    def fleet(self) -> Fleet:
        return self._fleet

    @property
    def leases_outstanding(self) -> int:
        """Leases taken and not returned, those of pools that left the fleet included."""
        open_in = (pool for pool, _ in self._tracked.values())
        pools = {id(pool): pool for pool in (*open_in, *self._pools.values())}
        return sum(pool.state.ledger.outstanding for pool in pools.values())

    @property
    def held(self) -> int:
        """Requests that wait for their turn, in all pools."""
        return sum(pool.state.held for pool in self._pools.values())

    def leases_at(self, endpoint_id: EndpointId) -> int:
        """Leases charged to one endpoint, in all pools that have it."""
        pools = self._by_endpoint.get(endpoint_id, ())
        return sum(pool.state.ledger.loads[endpoint_id].leases for pool in pools)

    def tracked(self, request_id: str) -> Tracked | None:
        """What is known of an open request, to read.  None: it is not open."""
        entry = self._tracked.get(request_id)
        return None if entry is None else entry[1]

    def stats(self, now: float) -> Mapping[str, PoolStats]:
        """What is known of each pool, by name: for metrics, debug pages and reports."""
        return {name: pool_stats(pool.state, now) for name, pool in self._pools.items()}

    def apply(self, fleet: Fleet, now: float) -> Sequence[Outcome]:
        """Swap in a fleet, whole.  Requests in flight keep their leases."""
        now = self._advance(now)
        wanted = {pool.name: pool for pool in fleet.pools}
        for name in [n for n in self._pools if n not in wanted]:
            self._pools.pop(name).close(now)
        for name, pool in wanted.items():
            router = self._pools.get(name)
            if router is None:
                router = self._pools[name] = PoolRouter(
                    pool,
                    self._rng,
                    self._make_mirror(),
                    self._request_timers,
                    self._pool_timers,
                    self._settled,
                )
            router.apply(pool, now)
        self._fleet = fleet
        self._by_model = {m: self._pools[p.name] for p in fleet.pools for m in p.models}
        self._by_endpoint = defaultdict(list)
        for pool in fleet.pools:
            for endpoint in pool.endpoints:
                self._by_endpoint[endpoint.endpoint_id].append(self._pools[pool.name])
        return self._take_settled()

    def place(self, request: InferenceRequest, now: float) -> Outcome:
        """Choose pool and endpoint, and reserve, in one step.

        ``requested_model`` "" asks for the only pool, where there is only one.

        Raises:
            DuplicateRequest: if a request with that id has not ended.
        """
        if request.request_id in self._tracked:
            raise DuplicateRequest(request.request_id)
        now = self._advance(now)
        pool = self._pool_for(request.requested_model)
        if pool is None:
            return Shed(request.request_id, ShedReason.UNKNOWN_MODEL)
        tracked = pool.track(request, next(self._sequence), now)
        outcome = pool.route(tracked, now)
        if not isinstance(outcome, Shed):
            self._tracked[request.request_id] = (pool, tracked)
        return outcome

    def explain(self, request: InferenceRequest, now: float) -> Explanation:
        """What ``place`` would answer, by the same rules; nothing is reserved or learned.

        ``request_id`` may be that of a request that is open.
        """
        pool = self._pool_for(request.requested_model)
        if pool is None:
            return Explanation(course=Course.SHED, shed_reason=ShedReason.UNKNOWN_MODEL)
        return pool.explain(request, max(self._now, now))

    def observe(self, event: Event, now: float) -> Sequence[Outcome]:
        """Learn from an event; one about something unknown is counted and ignored."""
        now = self._advance(now)
        match event:
            case FirstToken() | UsageReported() | Finished() | Failed() | Cancelled():
                self._observe_request(event, now)
            case Scraped() | Unreachable() | BlocksStored() | BlocksRemoved() | CacheCleared():
                self._observe_endpoint(event, now)
            case _:
                assert_never(event)
        return self._take_settled()

    def tick(self, now: float) -> Sequence[Outcome]:
        """Do what is due: expire, rebalance, warm up, end predicted prefills."""
        now = self._advance(now)
        for request_id in self._request_timers.pop_due(now):
            entry = self._tracked.get(request_id)
            if entry and (outcome := entry[0].due(entry[1], now)):
                self._settled.append(outcome)
        for name in dict.fromkeys(self._pool_timers.pop_due(now)):
            if name in self._pools:
                self._pools[name].tick(now)
        return self._take_settled()

    def next_deadline(self) -> float | None:
        """When ``tick`` is due; None: not before something else happens."""
        if self._settled:
            return self._now
        of_request = self._request_timers.next_due(self._is_waiting)
        of_pool = self._pool_timers.next_due(self._has_timer)
        if of_request is None or of_pool is None:
            due = of_pool if of_request is None else of_request
        else:
            due = min(of_request, of_pool)
        return None if due is None else max(due, self._now)

    def _advance(self, now: float) -> float:
        self._now = max(self._now, now)
        return self._now

    def _is_waiting(self, request_id: str) -> bool:
        entry = self._tracked.get(request_id)
        return entry is not None and entry[1].awaits_first_token

    def _has_timer(self, pool: str) -> bool:
        return pool in self._pools and self._pools[pool].has_timer

    def _pool_for(self, model: str) -> PoolRouter | None:
        if model:
            return self._by_model.get(model)
        return next(iter(self._pools.values())) if len(self._pools) == 1 else None

    def _observe_request(
        self, event: FirstToken | UsageReported | Finished | Failed | Cancelled, now: float
    ) -> None:
        entry = self._tracked.get(event.request_id)
        if entry is None:
            self.ignored_events[type(event).__name__] += 1
            return
        pool, tracked = entry
        match event:
            case FirstToken():
                pool.first_token(tracked, event.endpoint_id, now)
            case UsageReported():
                pool.usage(tracked, event)
            case Finished() | Failed() | Cancelled():
                del self._tracked[event.request_id]
                pool.end(tracked, now)

    def _observe_endpoint(
        self,
        event: Scraped | Unreachable | BlocksStored | BlocksRemoved | CacheCleared,
        now: float,
    ) -> None:
        pools = self._by_endpoint.get(event.endpoint_id, ())
        if not pools:
            self.ignored_events[type(event).__name__] += 1
        for pool in pools:
            mirror = pool.state.mirror
            match event:
                case Scraped():
                    pool.scraped(event.endpoint_id, event.view, now)
                case Unreachable():
                    pool.unreachable(event.endpoint_id, now)
                case BlocksStored():
                    mirror.record(event.endpoint_id, event.blocks, event.block_tokens)
                case BlocksRemoved():
                    mirror.forget(event.endpoint_id, event.blocks)
                case CacheCleared():
                    mirror.clear(event.endpoint_id)

    def _take_settled(self) -> Sequence[Outcome]:
        if not self._settled:
            return ()
        # One that was settled by another's ``place`` may have ended before this could be told.
        settled = tuple(o for o in self._settled if o.request_id in self._tracked)
        self._settled.clear()
        for outcome in settled:
            if isinstance(outcome, Shed):
                del self._tracked[outcome.request_id]
        return settled
