"""Requests that wait in the router: who joins, whose turn it is, who is moved or given up."""

from collections.abc import Sequence

from headway_core.choice import Prospect
from headway_core.dispatching import Dispatching
from headway_core.estimate.work import prefill_work
from headway_core.facts import EndpointId
from headway_core.outcomes import Decision, Outcome, Reason, ShedReason
from headway_core.pool_state import PoolState
from headway_core.prospects import predicted_hit_tokens
from headway_core.queueing.held import HeldQueue
from headway_core.queueing.rebalance import moves
from headway_core.timers import Timers
from headway_core.tracking import Held, Tracked

REBALANCE_S = 0.05
"""How often held requests are offered a better endpoint."""


class Holding:
    """The only writer of a pool's held queues."""

    def __init__(
        self,
        state: PoolState,
        dispatching: Dispatching,
        request_timers: Timers,
        pool_timers: Timers,
    ) -> None:
        self._state = state
        self._dispatching = dispatching
        self._request_timers = request_timers
        self._pool_timers = pool_timers
        self._rebalance_due: float | None = None

    def hold(self, tracked: Tracked, now: float) -> None:
        """Queue it at its place."""
        self._add(tracked)
        if self._rebalance_due is None:
            self._schedule_rebalance(now)

    def pump(self, endpoint_id: EndpointId, now: float) -> list[Outcome]:
        """Dispatch from an endpoint's queue as long as the next one fits."""
        outcomes: list[Outcome] = []
        queue = self._state.queues.get(endpoint_id)
        while queue is not None and queue.size and self._may_go(endpoint_id, 0, now):
            entry = queue.next_entry(self._state.pool.policy.flow_control.order, now)
            if entry is None:
                break
            if self._predict_again(entry):
                continue  # It may be another's turn now.
            if not self._may_go(endpoint_id, entry.held_work.tokens, now):
                break
            queue.dispatched(entry)
            self._state.held -= 1
            outcomes.append(self._dispatching.dispatch(entry, now))
        return outcomes

    def _predict_again(self, tracked: Tracked) -> bool:
        """While it waited its prefix may have been cached by a sister, or evicted.

        The window, and what is learned from its first token, count the work that is left, not
        what it once was.  False: nothing has changed.
        """
        place, state = tracked.held, self._state
        if place is None or not state.has_prefix(tracked.request):
            return False
        hit_tokens = predicted_hit_tokens(state, tracked.request, place.endpoint_id)
        if hit_tokens == place.hit_tokens:
            return False
        self.discard(tracked)
        place.hit_tokens = hit_tokens
        place.work = prefill_work(tracked.request.prompt_tokens, hit_tokens)
        place.prefill_s = state.latency.endpoints[place.endpoint_id].prefill_s(place.work)
        tracked.held = place
        self._add(tracked)
        return True

    def expire(self, tracked: Tracked, now: float) -> ShedReason | None:
        """Give a held request up if that is due, and say why.

        A timer that is due may also be that of where it was held before it moved.
        """
        if tracked.held is None or now < _deadline(tracked):
            return None
        self.discard(tracked)
        return ShedReason.QUEUE_TIMEOUT if now >= tracked.queue_deadline else ShedReason.DEADLINE

    def discard(self, tracked: Tracked) -> bool:
        """Take it out before its turn.  False: it was not held."""
        place = tracked.held
        if place is None:
            return False
        queue = self._state.queues.get(place.endpoint_id)
        found = queue is not None and queue.discard(tracked)
        tracked.held = None
        if found:
            self._state.held -= 1
            self._state.reindex(place.endpoint_id)
        return found

    def evacuate(self, endpoint_id: EndpointId) -> list[Tracked]:
        """Empty the queue of an endpoint that cannot serve; the caller routes them again."""
        homeless = list(self._state.queues[endpoint_id])
        self._state.queues[endpoint_id] = HeldQueue()
        self._state.held -= len(homeless)
        self._state.reindex(endpoint_id)
        return homeless

    @property
    def rebalance_due(self) -> float | None:
        """When ``tick`` has something to do; None: nothing is held."""
        return self._rebalance_due

    def tick(self, now: float) -> list[Outcome]:
        """Rebalance when that is due."""
        if self._rebalance_due is None or now < self._rebalance_due:
            return []
        self._rebalance_due = None
        if not self._state.held:
            return []
        targets: dict[EndpointId, None] = {}
        for move in moves(self._state, now):
            self.discard(move.entry)
            self._put(move.entry, move.to)
            targets[move.to.candidate.endpoint_id] = None
        outcomes = [outcome for target in targets for outcome in self.pump(target, now)]
        if self._state.held:
            self._schedule_rebalance(now)
        return outcomes

    def _put(self, entry: Tracked, to: Prospect) -> None:
        decision = decided(self._state, to, [to], Reason.REBALANCED)
        entry.held = place_at(to, decision)
        entry.held.moved = True
        self._add(entry)

    def _add(self, tracked: Tracked) -> None:
        if tracked.held is None:
            raise ValueError(f"request {tracked.request_id!r} has no place yet")
        self._state.queues[tracked.held.endpoint_id].add(tracked)
        self._state.held += 1
        self._state.reindex(tracked.held.endpoint_id)
        self._request_timers.at(_deadline(tracked), tracked.request_id)

    def _may_go(self, endpoint_id: EndpointId, tokens: float, now: float) -> bool:
        is_holding = self._state.pool.policy.flow_control.enabled
        return not is_holding or self._dispatching.fits(endpoint_id, tokens, now)

    def _schedule_rebalance(self, now: float) -> None:
        self._rebalance_due = now + REBALANCE_S
        self._pool_timers.at(self._rebalance_due, self._state.pool.name)


def _deadline(tracked: Tracked) -> float:
    """When it is given up where it stands now: a sheddable one as soon as it is late."""
    latest = tracked.latest_start()
    if tracked.slo_class.sheddable and latest is not None:
        return min(tracked.queue_deadline, latest)
    return tracked.queue_deadline


def decided(
    state: PoolState, chosen: Prospect, prospects: Sequence[Prospect], reason: Reason
) -> Decision:
    return Decision(
        pool=state.pool.name,
        endpoint_id=chosen.candidate.endpoint_id,
        candidates=tuple([p.candidate for p in prospects]),
        reason=reason,
        policy_hash=state.pool.policy.content_hash,
    )


def place_at(chosen: Prospect, decision: Decision) -> Held:
    """Where a request is to be served, and what that was predicted to take."""
    return Held(
        endpoint_id=decision.endpoint_id,
        decision=decision,
        work=chosen.work,
        hit_tokens=chosen.candidate.hit_tokens,
        prefill_s=chosen.candidate.seconds_by_term["prefill"],
    )
