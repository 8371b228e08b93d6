"""DualMap's scheduler: two hashed candidates, a queue per instance, one un-prefilled request each.

    a, b = ring1(key), ring2(key);  if a == b: b = the instance after a
    h = the candidate with the longer cached prefix
    primary = h if V_h * tok_time <= slo_share * SLO, else the one with the least V * tok_time

V are the miss tokens queued and pending there and the request's own.  The
primary's queue is served longest cached prefix first, whenever its engine has no request without a
first token (3.5).  In the released code ``tok_time`` is a constant; here it is the declared rate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from random import Random

from headway_core.events import Cancelled, Event, Failed, Finished
from headway_core.facts import EndpointId, InferenceRequest
from headway_core.outcomes import ShedReason
from headway_core.policy import Fleet, Pool
from headway_core.prefix.mirror import Mirror
from headway_sim.baselines.dualmap.key import LazyPrefixes
from headway_sim.baselines.dualmap.queues import Queue, Waiting
from headway_sim.baselines.dualmap.rebalance import Load, rebalance
from headway_sim.baselines.picker import fallback, serves, the_pool
from headway_sim.baselines.ring import Ring
from headway_sim.baselines.rule import least
from headway_sim.pickers import Answer, Refused, Sent, Waits
from headway_sim.views import Views

RING_POINTS = 160


class Primary(StrEnum):
    """How one of the two candidates is chosen."""

    SLO_AWARE = "slo_aware"
    LEAST_LOADED = "least_loaded"
    CACHE_AFFINITY = "cache_affinity"
    MIN_TTFT = "min_ttft"


@dataclass(slots=True)
class DualMap:
    """Defaults of the sweep in the released code; the SLO is the pool's if it has one."""

    rng: Random
    sees_first_tokens: bool
    primary: Primary = Primary.SLO_AWARE
    rebalances: bool = True
    slo_s: float = 5.0
    slo_share: float = 0.5
    max_wait_s: float = 3.0
    make_mirror: Callable[[], Mirror] = Mirror
    _prefixes: LazyPrefixes = field(default_factory=LazyPrefixes, init=False)
    _views: Views | None = field(default=None, init=False)
    _pool: Pool | None = field(default=None, init=False)
    _instances: tuple[EndpointId, ...] = field(default=(), init=False)
    _rings: tuple[Ring, Ring] | None = field(default=None, init=False)
    _queues: dict[EndpointId, Queue] = field(default_factory=dict, init=False)
    _waiting: dict[str, Waiting] = field(default_factory=dict, init=False)
    _numbers: "count[int]" = field(default_factory=count, init=False)
    _settled: list[Answer] = field(default_factory=list, init=False)
    _now: float = field(default=0.0, init=False)

    def apply(self, fleet: Fleet, now: float) -> Sequence[Answer]:
        self._pool = the_pool(fleet)
        if self._pool is None:
            return ()
        if self._views is None:
            self._views = Views(
                self._pool, sees_first_tokens=self.sees_first_tokens, mirror=self.make_mirror()
            )
        self._views.apply(self._pool)
        self._follow(self._views, now)
        return self._schedule(now)

    def place(self, request: InferenceRequest, now: float) -> Answer:
        pool, views = self._pool, self._views
        if pool is None or views is None or not serves(pool, request):
            return Refused(request.request_id, str(ShedReason.UNKNOWN_MODEL))
        if not self._instances:
            return Refused(request.request_id, str(ShedReason.NO_ENDPOINTS))
        views.expire(now)
        entry = self._push(request, views, now)
        load = self._load(views, now)
        if self.rebalances and all(load.is_overloaded(instance) for instance in entry.pair):
            rebalance(load, entry.at)
        own: Answer = Waits(request.request_id)
        for answer in self._schedule(now):
            if answer.request_id == request.request_id:
                own = answer
            else:
                self._settled.append(answer)
        return own

    def observe(self, event: Event, now: float) -> Sequence[Answer]:
        if self._views is None:
            return ()
        self._views.expire(now)
        self._views.observe(event, now)
        if isinstance(event, Finished | Failed | Cancelled):
            entry = self._waiting.pop(event.request_id, None)
            if entry is not None:
                self._queues[entry.at].remove(entry)
        self._follow(self._views, now)
        return self._schedule(now)

    def tick(self, now: float) -> Sequence[Answer]:
        if self._views is not None:
            self._views.expire(now)
        return self._schedule(now)

    def next_deadline(self) -> float | None:
        if self._settled:
            return self._now
        return None if self._views is None or not self._waiting else self._views.next_expiry()

    def _follow(self, views: Views, now: float) -> None:
        """Queues and rings for exactly those that serve; the others' queues are routed anew."""
        if self._instances == views.serving:
            return
        self._instances = views.serving
        first, second = (Ring(self._instances, RING_POINTS, number) for number in (1, 2))
        self._rings = (first, second)
        left = [entry for queue in self._queues.values() for entry in queue]
        self._queues = {instance: Queue() for instance in self._instances}
        self._waiting.clear()
        for entry in sorted(left, key=lambda entry: entry.number):
            if self._instances:
                self._push(entry.request, views, entry.arrived)
            else:
                refused = Refused(entry.request.request_id, str(ShedReason.NO_ENDPOINTS))
                self._settled.append(refused)

    def _push(self, request: InferenceRequest, views: Views, arrived: float) -> Waiting:
        pair = self._pair(request)
        at = self._choose(request, pair, views)
        hit = views.hit_tokens(at, request)
        entry = Waiting(request, pair, arrived, next(self._numbers), at, hit)
        self._queues[at].add(entry)
        self._waiting[request.request_id] = entry
        return entry

    def _pair(self, request: InferenceRequest) -> tuple[EndpointId, EndpointId]:
        assert self._rings is not None
        blocks = request.blocks
        key = self._prefixes.key(blocks) if blocks else self.rng.getrandbits(64)
        a, b = (ring.owner(key) for ring in self._rings)
        if a == b:
            b = self._instances[(self._instances.index(a) + 1) % len(self._instances)]
        return a, b

    def _choose(
        self, request: InferenceRequest, pair: tuple[EndpointId, EndpointId], views: Views
    ) -> EndpointId:
        def seconds(instance: EndpointId) -> float:
            queued = self._queues[instance].miss_tokens + views.load(instance).pending_tokens
            return views.prefill_s(instance, queued + views.miss_tokens(instance, request))

        def kv_blocks(instance: EndpointId) -> int:
            return -(-views.load(instance).prompt_tokens // 128)

        match self.primary:
            case Primary.LEAST_LOADED:
                return least(
                    pair,
                    lambda i: self._queues[i].miss_tokens + views.load(i).pending_tokens,
                    self.rng,
                )
            case Primary.MIN_TTFT:
                return least(pair, lambda i: (seconds(i), kv_blocks(i)), self.rng)
        affine = least(pair, lambda i: (-views.hit_tokens(i, request), kv_blocks(i)), self.rng)
        limit_s = self.slo_share * self._slo_s()
        if self.primary is Primary.CACHE_AFFINITY or seconds(affine) <= limit_s:
            return affine
        return least(pair, lambda i: (seconds(i), kv_blocks(i)), self.rng)

    def _schedule(self, now: float) -> Sequence[Answer]:
        """Rebalance what is overloaded, then let go what its engine is ready for."""
        self._now = now
        answers, self._settled = self._settled, []
        pool, views = self._pool, self._views
        if pool is None or views is None or not self._waiting:
            return answers
        if self.rebalances:
            load = self._load(views, now)
            for instance in self._instances:
                if len(self._queues[instance]) > 1 and load.is_overloaded(instance):
                    rebalance(load, instance)
        for instance, queue in self._queues.items():
            if queue and views.load(instance).pending_requests == 0:
                entry = queue.pop()
                request_id = entry.request.request_id
                del self._waiting[request_id]
                views.sent(entry.request, instance, now)
                answers.append(Sent(request_id, instance, fallback(pool, views, instance)))
        return answers

    def _load(self, views: Views, now: float) -> Load:
        limit_s = self.slo_share * self._slo_s()

        def limit_tokens(instance: EndpointId) -> float:
            return limit_s / views.prefill_s(instance, 1.0)

        return Load(self._instances, self._queues, views, limit_tokens, self.max_wait_s, now)

    def _slo_s(self) -> float:
        slo = None if self._pool is None else self._pool.slo
        return self.slo_s if slo is None else slo.ttft_s
