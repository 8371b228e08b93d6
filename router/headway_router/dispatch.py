"""Owns the core on a wall clock: passes requests and events to it, and its answers to sessions."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import time
from uuid import uuid4

from headway_core.events import Cancelled, Event, Failed, Finished, FirstToken
from headway_core.facts import InferenceRequest
from headway_core.outcomes import Held, Outcome, Placed, Shed
from headway_core.policy import Fleet, PrefixAffinity
from headway_core.router import Router
from headway_router.catalogue import Catalogue
from headway_router.kv_events.prompts import Prompts
from headway_router.metric_labels import FirstTokenOutcome
from headway_router.metrics import Metrics
from headway_router.open_requests import EndedRequests, OpenRequest, Settle

SHORTEST_WAIT_S = 0.005
"""The timer looks at the core at most this often: deadlines come with every request, and one
wake-up serves many.  It is less than an engine's step, so nothing that is due notices."""


class Dispatcher:
    """The one caller of the core in this process.

    ``clock`` gives seconds that never go back.  ``prompts`` remembers what is sent to pools whose
    caches are followed by KV events.
    """

    def __init__(
        self,
        core: Router,
        metrics: Metrics,
        clock: Callable[[], float],
        prompts: Prompts | None = None,
    ) -> None:
        self._core = core
        self._prompts = prompts
        self._followed_models: dict[str, str] = {}
        self._metrics = metrics
        self._clock = clock
        self._open: dict[str, OpenRequest] = {}
        self._ended = EndedRequests()
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = float("inf")
        self._failed: asyncio.Future[None] | None = None
        """While ``run`` lasts; what ends it."""
        self._catalogue = Catalogue(Fleet())

    @property
    def core(self) -> Router:
        """To read its state; whatever changes it goes through the dispatcher."""
        return self._core

    @property
    def catalogue(self) -> Catalogue:
        return self._catalogue

    def now(self) -> float:
        return self._clock()

    def apply(self, fleet: Fleet) -> None:
        self._catalogue = Catalogue(fleet, applied_s=int(time()))
        self._followed_models = {
            pool.name: pool.model
            for pool in fleet.pools
            if pool.policy.prefix_affinity is PrefixAffinity.PRECISE
        }
        self._settle_all(self._core.apply(fleet, self._clock()))

    def place(self, request: InferenceRequest, settle: Settle) -> Outcome:
        """Ask for an endpoint.  The outcome's ``request_id`` is the one in force: where a request
        with the client's is open already, this one gets an id of its own.

        After ``Held``, ``settle`` is called with the outcome.  After ``Placed`` and ``Held`` the
        caller owes an ``observe`` of its end.
        """
        now = self._clock()
        if request.request_id in self._open:
            request = replace(request, request_id=uuid4().hex)
        outcome = self._core.place(request, now)
        if not isinstance(outcome, Shed):
            decision = outcome.decision
            self._open[outcome.request_id] = opened = OpenRequest(
                settle, request, now, decision.pool
            )
            if isinstance(outcome, Placed):
                opened.endpoint_id = decision.endpoint_id
            model = self._followed_models.get(decision.pool)
            if model is not None and self._prompts is not None:
                self._prompts.sent(model, request)
        self._metrics.outcome(outcome, prompt_tokens=request.prompt_tokens)
        self._set_timer(now)
        return outcome

    def observe(self, event: Event) -> None:
        """Tell the core.  The end of a request counts once; later ones are ignored."""
        match event:
            case FirstToken():
                self._count_first_token(event)
            case Finished() | Failed() | Cancelled():
                opened = self._open.pop(event.request_id, None)
                if opened is None or opened.is_released:
                    return
                if isinstance(event, Finished) and self._prompts is not None:
                    self._prompts.ended(
                        event.request_id, self._clock(), has_first_token=opened.has_first_token
                    )
                if isinstance(event, Cancelled):
                    self._metrics.cancelled(opened.pool)
                elif not opened.has_first_token:
                    self._ended.remember(opened)
        self._tell(event)

    def dispatched(self, request_id: str) -> OpenRequest | None:
        """None: there is no such request here, or it is held, or over."""
        opened = self._open.get(request_id)
        if opened is None or opened.endpoint_id is None or opened.is_released:
            return None
        return opened

    def engine_refused(self, request_id: str) -> None:
        """An engine answered with an error: its charge is over, before the stream ends.

        The id stays taken until then.
        """
        opened = self.dispatched(request_id)
        if opened is None:
            self._metrics.first_token(FirstTokenOutcome.UNKNOWN)
            return
        opened.is_released = True
        self._metrics.first_token(FirstTokenOutcome.IGNORED)
        self._tell(Failed(request_id))

    async def run(self) -> None:
        """Call the core's ``tick`` when it is due, until cancelled.  Raises: what that raises."""
        self._failed = asyncio.get_running_loop().create_future()
        self._set_timer(self._clock())
        try:
            await self._failed
        finally:
            self._failed = None
            self._stop_timer()

    def tick(self) -> None:
        """Let the core do what is due now."""
        self._settle_all(self._core.tick(self._clock()))

    def _set_timer(self, now: float) -> None:
        """Wake when the next deadline is due, or not so soon after ``now``."""
        soonest = now + SHORTEST_WAIT_S
        if self._failed is None or self._wakes_at <= soonest:
            return
        deadline = self._core.next_deadline()
        if deadline is None or max(deadline, soonest) >= self._wakes_at:
            return
        self._stop_timer()
        self._wakes_at = max(deadline, soonest)
        self._timer = asyncio.get_running_loop().call_later(self._wakes_at - now, self._wake)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._wakes_at = None, float("inf")

    def _wake(self) -> None:
        self._stop_timer()
        try:
            self.tick()
        except Exception as error:
            if self._failed is None or self._failed.done():
                raise
            self._failed.set_exception(error)

    def _tell(self, event: Event) -> None:
        outcomes = self._core.observe(event, self._clock())
        # Deadlines come with what is placed or held; most events end some instead.
        if outcomes or not isinstance(event, FirstToken | Finished):
            self._settle_all(outcomes)

    def _settle_all(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self._settle(outcome)
        self._set_timer(self._clock())

    def _settle(self, outcome: Outcome) -> None:
        if isinstance(outcome, Held):
            return
        opened = self._open.get(outcome.request_id)
        if opened is None:
            return  # It has left in this very step, which the core has been told.
        held_s = self._clock() - opened.arrived_s
        self._metrics.outcome(outcome, prompt_tokens=opened.request.prompt_tokens, held_s=held_s)
        match outcome:
            case Placed(decision=decision):
                opened.endpoint_id = decision.endpoint_id
            case Shed():
                del self._open[outcome.request_id]
        opened.settle(outcome)

    def _count_first_token(self, event: FirstToken) -> None:
        opened = self._open.get(event.request_id)
        if opened is None:
            placement = self._ended.take(event.request_id)
        elif opened.has_first_token or opened.is_released:
            placement = None
        else:
            placement = opened.placement
        if placement is None:
            is_known = opened is not None
            outcome = FirstTokenOutcome.IGNORED if is_known else FirstTokenOutcome.UNKNOWN
            self._metrics.first_token(outcome)
            return
        if opened is not None:
            opened.has_first_token = True
        tracked = self._core.tracked(event.request_id)
        self._metrics.first_token(
            FirstTokenOutcome.MATCHED,
            pool=placement.pool,
            ttft_s=self._clock() - placement.arrived_s,
            target_s=None if tracked is None else tracked.ttft_s,
        )
        if event.endpoint_id is not None and event.endpoint_id != placement.endpoint_id:
            self._metrics.fallback(placement.pool)
