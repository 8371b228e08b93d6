"""One pool's requests from arrival to end: chosen, held or dispatched, charged, released."""

from random import Random

from headway_core.admission import is_hopeless, retry_after_s
from headway_core.choice import Prospect, choose_affine, choose_balanced
from headway_core.dispatching import Dispatching
from headway_core.endpoints import PoolEndpoints
from headway_core.events import UsageReported
from headway_core.facts import EndpointId, EngineView, InferenceRequest
from headway_core.holding import Holding, decided, place_at
from headway_core.outcomes import Course, Decision, Explanation, Held, Outcome, Shed, ShedReason
from headway_core.policy import Pool, SloClass
from headway_core.pool_state import PoolState
from headway_core.prefix.mirror import Mirror
from headway_core.prospects import assess, choices
from headway_core.timers import Timers
from headway_core.tracking import Tracked

_NO_CLASS = SloClass(name="")


class PoolRouter:
    """Outcomes of requests other than the one at hand go to ``settled``; the facade empties it."""

    def __init__(
        self,
        pool: Pool,
        rng: Random,
        mirror: Mirror,
        request_timers: Timers,
        pool_timers: Timers,
        settled: list[Outcome],
    ) -> None:
        self.state = PoolState(pool, PoolEndpoints(rng), mirror)
        self._pool_timers = pool_timers
        self._settled = settled
        self._warm_due: float | None = None
        self._dispatching = Dispatching(self.state, request_timers)
        self._holding = Holding(self.state, self._dispatching, request_timers, pool_timers)

    @property
    def pool(self) -> Pool:
        return self.state.pool

    @property
    def has_timer(self) -> bool:
        """Is ``tick`` of use at all?"""
        return self._warm_due is not None or self._holding.rebalance_due is not None

    def apply(self, pool: Pool, now: float) -> None:
        """Take over a new version of the pool; what was held for lost endpoints is routed anew."""
        self._settle_anew(self.state.apply(pool, now), now)
        self._schedule_warmup(now)
        self._leave_unreachable(now)
        for endpoint_id in self.state.queues:  # A larger window, or no holding any more.
            self._pump(endpoint_id, now)

    def close(self, now: float) -> None:
        """The pool is gone from the fleet: nothing more is placed, what is held is refused."""
        empty = Pool(name=self.pool.name, model=self.pool.model, policy=self.pool.policy)
        self.apply(empty, now)

    # -- one request -------------------------------------------------------------------------

    def track(self, request: InferenceRequest, sequence: int, now: float) -> Tracked:
        """Resolve class, priority and SLO of a request that arrives now, and count it."""
        self.state.learn_arrival(request)
        return self._resolved(request, sequence, now)

    def _resolved(self, request: InferenceRequest, sequence: int, now: float) -> Tracked:
        policy = self.pool.policy
        slo_class = _NO_CLASS
        if request.slo_class is not None:
            named = (c for c in policy.slo_classes if c.name == request.slo_class)
            slo_class = next(named, _NO_CLASS)
        slo = request.slo or slo_class.slo or self.pool.slo
        return Tracked(
            request=request,
            arrived=now,
            sequence=sequence,
            ttft_s=None if slo is None else slo.ttft_target_s(request.prompt_tokens),
            priority=slo_class.priority if request.priority is None else request.priority,
            slo_class=slo_class,
            queue_deadline=now + policy.flow_control.queue_timeout_s,
        )

    def route(self, tracked: Tracked, now: float) -> Outcome:
        """Choose for a request that is nowhere yet; dispatch, hold or shed it."""
        verdict = self._judge(tracked, now)
        if isinstance(verdict, Shed):
            return verdict
        chosen, decision, waits = verdict
        tracked.held = place_at(chosen, decision)
        if not waits:
            return self._dispatching.dispatch(tracked, now)
        self._holding.hold(tracked, now)
        answer: Outcome = Held(tracked.request_id, tracked.queue_deadline, decision)
        # One that goes before those waiting may fit where the next of them does not.
        for outcome in self._holding.pump(decision.endpoint_id, now):
            if outcome.request_id == tracked.request_id:
                answer = outcome
            else:
                self._settled.append(outcome)
        return answer

    def explain(self, request: InferenceRequest, now: float) -> Explanation:
        """What would become of a request that arrived now."""
        with self.state.supposing_arrival(request):
            tracked = self._resolved(request, 0, now)
            verdict = self._judge(tracked, now)
            if isinstance(verdict, Shed):
                return Explanation(
                    course=Course.SHED,
                    decision=verdict.decision,
                    shed_reason=verdict.reason,
                    retry_after_s=verdict.retry_after_s,
                )
            _, decision, waits = verdict
            return Explanation(
                course=Course.HOLD if waits else Course.PLACE,
                decision=decision,
                fallback_id=self._dispatching.fallback(request, decision),
                vllm_priority=tracked.slo_class.vllm_priority,
            )

    def _judge(self, tracked: Tracked, now: float) -> tuple[Prospect, Decision, bool] | Shed:
        """Who is chosen, why, and whether it must wait there; changes nothing."""
        state, request, policy = self.state, tracked.request, self.pool.policy
        prospects = self._prospects(tracked, now)
        if not prospects:
            is_subset = bool(state.endpoints.serving)
            why = ShedReason.EMPTY_SUBSET if is_subset else ShedReason.NO_ENDPOINTS
            return Shed(tracked.request_id, why, retry_after_s=1.0)
        choose = choose_affine if state.has_prefix(request) else choose_balanced
        chosen, reason = choose(prospects, policy.affinity_probability)
        decision = decided(state, chosen, prospects, reason)

        def shed(why: ShedReason) -> Shed:
            retry_s = retry_after_s(prospects, tracked.ttft_s)
            return Shed(tracked.request_id, why, retry_s, decision)

        if tracked.slo_class.sheddable and is_hopeless(prospects, tracked.ttft_left_s(now)):
            return shed(ShedReason.DEADLINE)
        endpoint_id = decision.endpoint_id
        waits = policy.flow_control.enabled and (
            state.queues[endpoint_id].size > 0
            or not self._dispatching.fits(endpoint_id, chosen.work.tokens, now)
        )
        if waits and state.held >= policy.flow_control.max_queued_requests:
            return shed(ShedReason.QUEUE_FULL)
        return chosen, decision, waits

    def first_token(self, tracked: Tracked, served_by: EndpointId | None, now: float) -> None:
        sent = tracked.dispatched
        if sent is None:
            return
        chosen = sent.endpoint_id
        self._dispatching.first_token(tracked, served_by, now)
        self._pump(chosen, now)

    def usage(self, tracked: Tracked, reported: UsageReported) -> None:
        self._dispatching.usage(tracked, reported)

    def end(self, tracked: Tracked, now: float) -> None:
        """The exchange is over, in whatever way: out of the queue, lease returned."""
        place = tracked.held or tracked.dispatched
        self._holding.discard(tracked)
        self._dispatching.release(tracked, now)
        if place is not None:  # It may have blocked the way of others, in queue or engine.
            self._pump(place.endpoint_id, now)

    def due(self, tracked: Tracked, now: float) -> Shed | None:
        """A timer of the request: its hold is over, or its prefill is taken to have ended."""
        place, sent = tracked.held, tracked.dispatched
        if place is not None:
            why = self._holding.expire(tracked, now)
            if why is None:
                return None
            self._pump(place.endpoint_id, now)
            retry_s = retry_after_s(self._prospects(tracked, now), tracked.ttft_s)
            return Shed(tracked.request_id, why, retry_s, place.decision)
        if sent is not None and now >= sent.prefill_due:
            self._dispatching.prefill_over(sent, now)
            self._pump(sent.endpoint_id, now)
        return None

    # -- one endpoint ------------------------------------------------------------------------

    def scraped(self, endpoint_id: EndpointId, view: EngineView, now: float) -> None:
        state = self.state
        ours = len(state.ledger.loads[endpoint_id].unprefilled)
        state.endpoints.scraped(endpoint_id, view, max(0, (view.waiting or 0) - ours), now)
        if view.kv_cache_tokens is not None:
            state.mirror.resize(endpoint_id, view.kv_cache_tokens)
        if state.endpoints.set_reachable(endpoint_id, True, now):
            self._leave_unreachable(now)
        self._pump(endpoint_id, now)

    def unreachable(self, endpoint_id: EndpointId, now: float) -> None:
        """Its process is gone and its cache with it; held requests go elsewhere."""
        if self.state.endpoints.set_reachable(endpoint_id, False, now):
            self.state.mirror.clear(endpoint_id)
            self._leave_unreachable(now)

    def _leave_unreachable(self, now: float) -> None:
        """Empty the queues of the unreachable, unless nobody else is there to serve."""
        state = self.state
        state.follow_serving()
        for record in state.endpoints:
            endpoint_id = record.endpoint.endpoint_id
            if not record.is_reachable and endpoint_id not in state.endpoints.serving:
                self._settle_anew(self._holding.evacuate(endpoint_id), now)

    def tick(self, now: float) -> None:
        """The pool's own timer: warm-up steps and rebalancing."""
        if self._warm_due is not None and now >= self._warm_due:
            self.state.endpoints.refresh(now)
            self._schedule_warmup(now)
        self._settled += self._holding.tick(now)

    def _schedule_warmup(self, now: float) -> None:
        self._warm_due = self.state.endpoints.next_warm_step(now)
        if self._warm_due is not None:
            self._pool_timers.at(self._warm_due, self.pool.name)

    def _prospects(self, tracked: Tracked, now: float) -> list[Prospect]:
        return assess(self.state, tracked, choices(self.state, tracked.request, now), now)

    def _settle_anew(self, homeless: list[Tracked], now: float) -> None:
        for tracked in homeless:
            tracked.held = None
            outcome = self.route(tracked, now)
            if not isinstance(outcome, Held):
                self._settled.append(outcome)

    def _pump(self, endpoint_id: EndpointId, now: float) -> None:
        self._settled += self._holding.pump(endpoint_id, now)
