"""What a router of the simulation is made of: the production core, or a baseline, as one kind.

A picker is told what a router can know (`headway_core.events`) and asked where requests go.  It
never meets an engine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, assert_never

from headway_core.events import Event
from headway_core.facts import EndpointId, InferenceRequest
from headway_core.outcomes import Decision, Held, Outcome, Placed, Shed
from headway_core.policy import Fleet
from headway_core.router import Router


@dataclass(frozen=True, slots=True)
class Sent:
    """The request goes to an endpoint now."""

    request_id: str
    endpoint_id: EndpointId
    fallback_id: EndpointId | None = None
    """Where the gateway may try again once."""
    priority: int = 0
    """For engines that schedule by priority; lower goes first."""
    decision: Decision | None = None
    """Why, where the picker says."""


@dataclass(frozen=True, slots=True)
class Waits:
    """The router holds the request; a later answer settles it."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    request_id: str
    reason: str


Answer = Sent | Waits | Refused


class Picker(Protocol):
    """One router replica's decisions; the surface of `headway_core.router.Router`.

    ``now`` is in seconds and never decreases.  A request that was sent or waits ends with exactly
    one of the events ``Finished``, ``Failed`` and ``Cancelled``.
    """

    def apply(self, fleet: Fleet, now: float) -> Sequence[Answer]: ...

    def place(self, request: InferenceRequest, now: float) -> Answer: ...

    def observe(self, event: Event, now: float) -> Sequence[Answer]: ...

    def tick(self, now: float) -> Sequence[Answer]: ...

    def next_deadline(self) -> float | None:
        """When ``tick`` is due; None: not before something else happens."""


class ProductionPicker:
    """The router core as it runs behind a gateway, untouched."""

    def __init__(self, router: Router) -> None:
        self.router = router

    def apply(self, fleet: Fleet, now: float) -> Sequence[Answer]:
        return _answers(self.router.apply(fleet, now))

    def place(self, request: InferenceRequest, now: float) -> Answer:
        return answer_to(self.router.place(request, now))

    def observe(self, event: Event, now: float) -> Sequence[Answer]:
        return _answers(self.router.observe(event, now))

    def tick(self, now: float) -> Sequence[Answer]:
        return _answers(self.router.tick(now))

    def next_deadline(self) -> float | None:
        return self.router.next_deadline()


def _answers(outcomes: Sequence[Outcome]) -> Sequence[Answer]:
    return [answer_to(outcome) for outcome in outcomes] if outcomes else ()


def answer_to(outcome: Outcome) -> Answer:
    """What a picker says for what the core says."""
    match outcome:
        case Placed(request_id, decision, legs, fallback_id, vllm_priority):
            return Sent(request_id, legs[0].endpoint_id, fallback_id, vllm_priority or 0, decision)
        case Held(request_id):
            return Waits(request_id)
        case Shed(request_id, reason):
            return Refused(request_id, str(reason))
        case _:
            assert_never(outcome)
