"""What the router answers: placed, held or shed, each with the decision that explains it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from headway_core.facts import EndpointId, Role
from headway_core.values import value


class Reason(StrEnum):
    """Why an endpoint was chosen."""

    AFFINE = "affine"
    """It holds the longest prefix, or is where a new one belongs, and meets the SLO with
    probability >= p_aff."""
    LEAST_TTFT = "least-ttft"
    """The affine one would probably miss the SLO (or there is none): least predicted TTFT."""
    LEAST_BACKLOG = "least-backlog"
    """The prompt is shorter than one block, so there is no affinity to have."""
    REBALANCED = "rebalanced"
    """It was held elsewhere and moved to where its first token comes sooner."""


class ShedReason(StrEnum):
    """Why a request is refused; a closed set, the label of a metric and a response header."""

    UNKNOWN_MODEL = "unknown-model"
    NO_ENDPOINTS = "no-endpoints"
    EMPTY_SUBSET = "empty-subset"
    """The gateway's subset names no endpoint of the pool that may serve."""
    DEADLINE = "deadline"
    """A sheddable request that no candidate can serve within its SLO."""
    QUEUE_FULL = "queue-full"
    QUEUE_TIMEOUT = "queue-timeout"


@value
class Candidate:
    """One endpoint that was considered, and what it was predicted to cost.

    ``seconds_by_term`` sums to ``ttft_s``: ``queue`` (held work ahead), ``engine`` (dispatched,
    not yet prefilled), ``foreign`` (work of others, from the scrape), ``prefill`` (its own).
    """

    endpoint_id: EndpointId
    seconds_by_term: Mapping[str, float]
    ttft_s: float
    hit_tokens: int
    slo_probability: float | None
    """P(TTFT <= SLO); None: the request has no SLO."""


@value
class Decision:
    """Why the request goes where it goes; read by logs, metrics, `explain` and the simulator."""

    pool: str
    endpoint_id: EndpointId
    candidates: tuple[Candidate, ...]
    reason: Reason
    policy_hash: str
    regime: str | None = None
    """None until the regime controller exists."""

    @property
    def chosen(self) -> Candidate:
        for candidate in self.candidates:
            if candidate.endpoint_id == self.endpoint_id:
                return candidate
        raise ValueError(f"{self.endpoint_id!r} is not among the candidates")


@value
class Lease:
    """A charge on an endpoint, taken in the step that picked it and returned exactly once."""

    lease_id: int
    prefill_tokens: int
    """Prompt tokens the endpoint was predicted to compute."""
    prefill_s: float


@value
class Leg:
    """One engine's part in a request.  Disaggregation adds a second."""

    role: Role
    endpoint_id: EndpointId
    lease: Lease


@value
class Placed:
    request_id: str
    decision: Decision
    legs: tuple[Leg, ...]
    fallback_id: EndpointId | None = None
    """Where the gateway may retry once if the first endpoint refuses; never charged unless used."""
    vllm_priority: int | None = None
    """``X-Vllm-Priority`` for the engine; None: leave it to the engine."""


@value
class Held:
    """The request waits in the router; a later outcome settles it by ``deadline_s``."""

    request_id: str
    deadline_s: float
    decision: Decision


@dataclass(frozen=True, slots=True)
class Shed:
    request_id: str
    reason: ShedReason
    retry_after_s: float | None = None
    """When it may be worth trying again; None: it will not help."""
    decision: Decision | None = None


Outcome = Placed | Held | Shed


class Course(StrEnum):
    """What would become of a request."""

    PLACE = "place"
    HOLD = "hold"
    """It would join the queue of its endpoint; and go at once, if the first turn there is its."""
    SHED = "shed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What ``place`` would do with a request that arrived now; nothing was reserved."""

    course: Course
    decision: Decision | None = None
    """None: there was nobody to choose from."""
    fallback_id: EndpointId | None = None
    vllm_priority: int | None = None
    shed_reason: ShedReason | None = None
    """Of `Course.SHED`, as the next."""
    retry_after_s: float | None = None
