"""Everything that is known of one pool, in one place: what the rules read and events change."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from headway_core.affinity.ladder import Ladder
from headway_core.backlog import LeastBacklog
from headway_core.endpoints import EndpointRecord, PoolEndpoints
from headway_core.estimate.latency import LatencyModel
from headway_core.estimate.work import NO_WORK, Work
from headway_core.facts import EndpointId, InferenceRequest, Role
from headway_core.ledger import Ledger
from headway_core.policy import Pool, PrefixAffinity
from headway_core.prefix.mirror import Mirror
from headway_core.queueing.held import HeldQueue
from headway_core.tracking import Tracked

_TYPICAL_SMOOTHING = 0.05


class PoolState:
    """The parts are public: other modules own the rules, this one keeps the parts consistent."""

    def __init__(self, pool: Pool, endpoints: PoolEndpoints, mirror: Mirror | None = None) -> None:
        self.pool = pool
        self.endpoints = endpoints
        self.ladder = Ladder()
        self.mirror = Mirror() if mirror is None else mirror
        self.latency = LatencyModel()
        self.ledger = Ledger()
        self.queues: dict[EndpointId, HeldQueue] = {}
        self.held = 0
        self.by_backlog = LeastBacklog()
        self.by_requests = LeastBacklog()
        """Both indexes hold those who may serve, and only them: no search meets any other."""
        self._indexed: frozenset[EndpointId] = frozenset()
        self._typical_tokens: float | None = None

    def apply(self, pool: Pool, now: float) -> list[Tracked]:
        """Take over a new version of the pool; returns what was held for endpoints now gone."""
        self.pool = pool
        joined, gone = self.endpoints.apply(pool.endpoints, now)
        homeless: list[Tracked] = []
        for record in gone:
            endpoint_id = record.endpoint.endpoint_id
            homeless += self.queues.pop(endpoint_id)
            self.mirror.remove(endpoint_id)
            self.ledger.drop(endpoint_id)
        for record in joined:
            endpoint_id = record.endpoint.endpoint_id
            self.mirror.add(endpoint_id, record.endpoint.capacity.kv_cache_tokens)
            self.queues[endpoint_id] = HeldQueue()
        self.held -= len(homeless)
        self.latency.follow(record.endpoint for record in self.endpoints)
        self.follow_serving()
        for record in self.endpoints:
            self.reindex(record.endpoint.endpoint_id)
        return homeless

    def follow_serving(self) -> None:
        """Bring the least-loaded indexes in line with who may serve."""
        serving, before = self.endpoints.serving, self._indexed
        self._indexed = serving
        for endpoint_id in before - serving:
            self.by_backlog.remove(endpoint_id)
            self.by_requests.remove(endpoint_id)
        for endpoint_id in sorted(serving - before):
            self.reindex(endpoint_id)

    def learn_arrival(self, request: InferenceRequest) -> None:
        """Count a request into the hot prefixes and into what is typical of the pool."""
        ring = self.endpoints.ring(Role.BOTH)
        if ring is not None and self.has_prefix(request):
            self.ladder.record(request.blocks, request.block_tokens, len(ring))
        self._count_typical(request)

    @contextmanager
    def supposing_arrival(self, request: InferenceRequest) -> Iterator[None]:
        """As ``learn_arrival``, but nothing of it is left after the block."""
        ring, typical = self.endpoints.ring(Role.BOTH), self._typical_tokens
        with ExitStack() as supposed:
            if ring is not None and self.has_prefix(request):
                blocks, block_tokens = request.blocks, request.block_tokens
                supposed.enter_context(self.ladder.supposing(blocks, block_tokens, len(ring)))
            self._count_typical(request)
            try:
                yield
            finally:
                self._typical_tokens = typical

    def _count_typical(self, request: InferenceRequest) -> None:
        typical = self._typical_tokens
        if typical is None:
            typical = float(request.prompt_tokens)
        self._typical_tokens = typical + _TYPICAL_SMOOTHING * (request.prompt_tokens - typical)

    def has_prefix(self, request: InferenceRequest) -> bool:
        """Is there a prefix that could be cached?"""
        mode = self.pool.policy.prefix_affinity
        return bool(request.blocks) and mode is not PrefixAffinity.DISABLED

    def backlog_s(self, endpoint_id: EndpointId) -> float:
        """Seconds of prefill work dispatched or held there."""
        work = self.ledger.loads[endpoint_id].work.plus(self.queues[endpoint_id].work)
        return self.latency.endpoints[endpoint_id].work_s(work)

    def engine_work_ahead(self, endpoint_id: EndpointId, now: float) -> Work:
        """Dispatched work that is not prefilled yet, less what the engine has done of the first."""
        load = self.ledger.loads[endpoint_id]
        if not load.unprefilled:
            return NO_WORK
        first = next(iter(load.unprefilled.values()))
        first_s = self.latency.endpoints[endpoint_id].work_s(first)
        share = min(1.0, (now - load.progress_since) / first_s) if first_s > 0 else 1.0
        return load.work.minus(Work(first.tokens * share, first.pairs * share))

    def foreign_waiting(self, record: EndpointRecord, now: float) -> int:
        """Others' requests in the engine's queue; 0 where the view is stale: unknown is no load."""
        if record.foreign_waiting and record.is_fresh(now, self.pool.policy.stale_after_s):
            return record.foreign_waiting
        return 0

    def foreign_work(self, record: EndpointRecord, now: float) -> Work:
        """Others' work in the engine's queue, at what is typical of this pool."""
        waiting, tokens = self.foreign_waiting(record, now), self._typical_tokens
        if not waiting or tokens is None:
            return NO_WORK
        return Work(waiting * tokens, waiting * tokens * tokens / 2)

    def reindex(self, endpoint_id: EndpointId) -> None:
        """Bring the least-loaded indexes up to date after a change of that endpoint's load."""
        if endpoint_id not in self._indexed:
            return
        used = self.endpoints.records[endpoint_id].last_used
        load, queue = self.ledger.loads[endpoint_id], self.queues[endpoint_id]
        law = self.latency.endpoints[endpoint_id]
        backlog_s = law.work_s(load.work.plus(queue.work) if queue.size else load.work)
        self.by_backlog.update(endpoint_id, law.tier, backlog_s, used)
        self.by_requests.update(endpoint_id, law.tier, load.leases + queue.size, used)
