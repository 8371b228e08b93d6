"""What the router remembers of a request between ``place`` and its end."""

from dataclasses import dataclass

from headway_core.estimate.work import NO_WORK, Work
from headway_core.facts import EndpointId, InferenceRequest
from headway_core.outcomes import Decision, Lease
from headway_core.policy import SloClass


@dataclass(slots=True, kw_only=True)
class Held:
    """Its place in an endpoint's held queue."""

    endpoint_id: EndpointId
    decision: Decision
    work: Work
    hit_tokens: int
    prefill_s: float
    """Its own prefill on that endpoint."""
    moved: bool = False
    """A held request is moved once at most."""


@dataclass(slots=True, kw_only=True)
class Dispatched:
    """Its lease, and what was believed when it was taken."""

    endpoint_id: EndpointId
    lease: Lease
    work: Work
    work_ahead: Work
    """Un-prefilled work in front of its first token, its own included."""
    hit_tokens: int
    at: float
    prefill_due: float
    """When its prefill is taken to have ended though no first token was seen."""
    first_token_seen: bool = False
    was_moved: bool = False
    """Another endpoint answered: says nothing about the predicted one's speed."""


@dataclass(slots=True, kw_only=True)
class Tracked:
    request: InferenceRequest
    arrived: float
    sequence: int
    ttft_s: float | None
    """Its target, counted from arrival; None: it has none."""
    priority: int
    slo_class: SloClass
    queue_deadline: float
    held: Held | None = None
    dispatched: Dispatched | None = None

    @property
    def request_id(self) -> str:
        return self.request.request_id

    @property
    def awaits_first_token(self) -> bool:
        return self.dispatched is None or not self.dispatched.first_token_seen

    @property
    def held_work(self) -> Work:
        return self.held.work if self.held else NO_WORK

    def ttft_left_s(self, now: float) -> float | None:
        """What remains of its target; None: it has none."""
        return None if self.ttft_s is None else self.arrived + self.ttft_s - now

    def latest_start(self) -> float | None:
        """When its prefill must start at the latest to meet the SLO; None: no SLO, or not held.

        arrived + ttft_s - prefill_s - 50 ms
        """
        if self.ttft_s is None or self.held is None:
            return None
        return self.arrived + self.ttft_s - self.held.prefill_s - SLACK_S


SLACK_S = 0.05
"""Hops, and the engine's composed-ahead step: a request is infeasible this much early."""
