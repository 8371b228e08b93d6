"""Sending requests to engines: the charge, what is learned from first tokens, the release."""

from headway_core.admission import fits
from headway_core.estimate.work import Work
from headway_core.events import UsageReported
from headway_core.facts import EndpointId, InferenceRequest, Role
from headway_core.outcomes import Candidate, Decision, Lease, Leg, Placed
from headway_core.pool_state import PoolState
from headway_core.timers import Timers
from headway_core.tracking import Dispatched, Tracked

_TAP_SMOOTHING = 0.1
_LOST_TAP_FACTOR = 4.0
_LOST_TAP_S = 1.0


class Dispatching:
    """The only writer of a pool's ledger."""

    def __init__(self, state: PoolState, timers: Timers) -> None:
        self._state = state
        self._timers = timers
        self._leases = 0
        self._first_token_share = 0.0
        """How many of the recent requests show their first token: is there a tap?"""

    def fits(self, endpoint_id: EndpointId, tokens: float, now: float) -> bool:
        """May the engine get so much now, or must it wait its turn in the held queue?"""
        state, record = self._state, self._state.endpoints.records[endpoint_id]
        load = state.ledger.loads[endpoint_id]
        return fits(load, tokens, record.endpoint.capacity, state.foreign_waiting(record, now))

    def dispatch(self, tracked: Tracked, now: float) -> Placed:
        """Take the lease where ``tracked.held`` says, and count the prompt as cached there."""
        state, request, place = self._state, tracked.request, tracked.held
        if place is None:
            raise ValueError(f"request {tracked.request_id!r} has no place yet")
        endpoint_id = place.endpoint_id
        work_ahead = state.engine_work_ahead(endpoint_id, now).plus(place.work)
        self._leases += 1
        lease = Lease(self._leases, int(place.work.tokens), place.prefill_s)
        state.ledger.charge(lease, endpoint_id, place.work, now)
        due = now + self._prefill_bound_s(endpoint_id, work_ahead)
        self._timers.at(due, tracked.request_id)
        tracked.held = None
        tracked.dispatched = Dispatched(
            endpoint_id=endpoint_id,
            lease=lease,
            work=place.work,
            work_ahead=work_ahead,
            hit_tokens=place.hit_tokens,
            at=now,
            prefill_due=due,
        )
        if state.has_prefix(request):
            state.mirror.record(endpoint_id, request.blocks, request.block_tokens)
        state.endpoints.used(endpoint_id)
        state.reindex(endpoint_id)
        return Placed(
            request_id=tracked.request_id,
            decision=place.decision,
            legs=(Leg(Role.BOTH, endpoint_id, lease),),
            fallback_id=self.fallback(request, place.decision),
            vllm_priority=tracked.slo_class.vllm_priority,
        )

    def first_token(self, tracked: Tracked, served_by: EndpointId | None, now: float) -> None:
        """Its prefill is over; learn how long that took, and where it really ran."""
        state, sent = self._state, tracked.dispatched
        if sent is None or sent.first_token_seen:
            return
        sent.first_token_seen = True
        self._count_first_token(seen=True)
        if served_by is not None and served_by != sent.endpoint_id:
            self._move(tracked, sent, served_by, now)
        if tracked.request.tells_first_token and not sent.was_moved:
            state.latency.learn(sent.endpoint_id, sent.work_ahead, now - sent.at)
        self.prefill_over(sent, now)

    def usage(self, tracked: Tracked, reported: UsageReported) -> None:
        """What the engine found in its cache, against what was predicted.

        Hits are compared at the reported length, as the predicted one is an estimate.
        """
        state, sent, request = self._state, tracked.dispatched, tracked.request
        prompt_tokens, cached_tokens = reported.prompt_tokens, reported.cached_tokens
        if sent is None or sent.was_moved or sent.endpoint_id not in state.endpoints.records:
            return
        if cached_tokens is None or not sent.hit_tokens:
            return
        expected = float(sent.hit_tokens)
        if prompt_tokens is not None:
            expected *= prompt_tokens / max(1, request.prompt_tokens)
        state.mirror.learn(sent.endpoint_id, round(expected), cached_tokens)

    def prefill_over(self, sent: Dispatched, now: float) -> bool:
        """End the prefill part of the charge.  False: it had ended before."""
        ended = self._state.ledger.prefilled(sent.lease.lease_id, now)
        if ended:
            self._state.reindex(sent.endpoint_id)
        return ended

    def release(self, tracked: Tracked, now: float) -> bool:
        """Return the lease, however the exchange ended.  False: there was none."""
        sent = tracked.dispatched
        if sent is None or not self._state.ledger.release(sent.lease.lease_id, now):
            return False
        if not sent.first_token_seen:
            self._count_first_token(seen=False)
        self._settle_load(sent.endpoint_id)
        return True

    def _move(
        self, tracked: Tracked, sent: Dispatched, endpoint_id: EndpointId, now: float
    ) -> None:
        """The gateway fell back: charge and cache follow to where it was answered.

        To an address outside the pool they cannot; then the charge stays where it is.
        """
        state, request, left = self._state, tracked.request, sent.endpoint_id
        sent.was_moved = True
        if endpoint_id not in state.endpoints.records:
            return
        state.ledger.move(sent.lease, endpoint_id, sent.work, now)
        sent.endpoint_id = endpoint_id
        if state.has_prefix(request):
            state.mirror.record(endpoint_id, request.blocks, request.block_tokens)
        self._settle_load(left)
        self._settle_load(endpoint_id)

    def _count_first_token(self, *, seen: bool) -> None:
        self._first_token_share += _TAP_SMOOTHING * (float(seen) - self._first_token_share)

    def _settle_load(self, endpoint_id: EndpointId) -> None:
        """Its load has changed; one of an endpoint that is gone is kept no longer than needed."""
        self._state.reindex(endpoint_id)
        if endpoint_id not in self._state.endpoints.records:
            self._state.ledger.drop(endpoint_id)

    def _prefill_bound_s(self, endpoint_id: EndpointId, work_ahead: Work) -> float:
        """After how long its prefill is taken to have ended though no first token was seen.

        Where first tokens are seen this is only a net for lost ones, and waits longer.
        """
        seconds = self._state.latency.endpoints[endpoint_id].prefill_s(work_ahead)
        if self._first_token_share > 0.5:
            return _LOST_TAP_FACTOR * seconds + _LOST_TAP_S
        return seconds

    def fallback(self, request: InferenceRequest, decision: Decision) -> EndpointId | None:
        """Where the gateway may try again once: the second best, at no charge."""
        state, chosen = self._state, decision.endpoint_id
        if state.pool.policy.max_attempts < 2:
            return None
        serving, subset = state.endpoints.serving, request.allowed_endpoints
        best: Candidate | None = None
        for other in decision.candidates:
            # While the request was held a candidate may have gone.
            if other.endpoint_id != chosen and other.endpoint_id in serving:
                best = other if best is None or other.ttft_s < best.ttft_s else best
        if best is not None:
            return best.endpoint_id
        if subset is None:
            found = state.by_requests.least(1, lambda e: e != chosen)
        else:
            found = sorted(e for e in subset if e in serving and e != chosen)
        return min(found, key=lambda e: state.ledger.loads[e].leases, default=None)
