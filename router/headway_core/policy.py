"""The frozen, validated form of what users write: ``Fleet`` of ``Pool`` with their ``Policy``.

``headway_api.compile`` makes these from documents; the core swaps them in whole.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from headway_core.facts import Endpoint, Slo


class CandidateSet(StrEnum):
    """Which endpoints a request may choose from."""

    PAIR = "Pair"
    """The two that the rings name."""
    PAIR_PLUS = "PairPlus"
    """The pair, the least backlog and the longest predicted hit, while views are fresh."""
    ALL = "All"
    """Every endpoint of the pool: O(endpoints) per request."""


class QueueOrder(StrEnum):
    """In which order an endpoint's held requests are dispatched: `queueing.orders`."""

    TRIAGE = "Triage"
    HIT_FIRST = "HitFirst"
    FCFS = "FCFS"
    SRPT = "SRPT"
    EDF = "EDF"


class PrefixAffinity(StrEnum):
    APPROXIMATE = "Approximate"
    """The mirror of what was sent where."""
    PRECISE = "Precise"
    """The same, corrected by what engines tell of their caches (KV events)."""
    DISABLED = "Disabled"
    """No prefix is ever predicted to be cached: balance load only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SloClass:
    name: str
    priority: int = 0
    """Higher goes first in a held queue."""
    slo: Slo | None = None
    """None: the pool's."""
    sheddable: bool = False
    vllm_priority: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowControl:
    """The held queue.  Disabled: every request is dispatched at once."""

    enabled: bool = True
    order: QueueOrder = QueueOrder.TRIAGE
    max_queued_requests: int = 1000
    queue_timeout_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observability:
    """What is shown of decisions; for whoever shows it, the core does not."""

    decision_log_share: float = 0.01
    """Of the requests, 0..1, as the next."""
    trace_share: float = 0.01
    response_header: bool = False
    """Tell the client where its request went, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How requests to a pool are routed.  The defaults are a pool's without a RoutingPolicy."""

    candidates: CandidateSet = CandidateSet.PAIR_PLUS
    prefix_affinity: PrefixAffinity = PrefixAffinity.APPROXIMATE
    affinity_probability: float = 0.9
    """p_aff: keep to the affine endpoint while P(TTFT <= SLO) there is at least this."""
    stale_after_s: float = 5.0
    """A view older than this is ignored: local accounting only."""
    slo_classes: tuple[SloClass, ...] = ()
    flow_control: FlowControl = field(default_factory=FlowControl)
    max_attempts: int = 2
    """1: no fallback endpoint is named.  2: one."""
    observability: Observability = field(default_factory=Observability)
    content_hash: str = ""
    """Identifies the policy in decisions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Endpoints that serve one model.  ``name`` is ``namespace/name``."""

    name: str
    model: str
    aliases: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    slo: Slo | None = None
    metrics_path: str = "/metrics"
    """Where its engines show their metrics; for whoever reads them, the core does not."""
    policy: Policy = field(default_factory=Policy)

    @property
    def models(self) -> tuple[str, ...]:
        """Every ``model`` a client may name to reach this pool."""
        return (self.model, *self.aliases, *self.adapters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All pools.  Compiled from files, discovery or a scenario by the same code.

    Raises:
        ValueError: if two pools share a name or a model, or two endpoints of a pool an id.
    """

    pools: tuple[Pool, ...] = ()

    def __post_init__(self) -> None:
        names = [pool.name for pool in self.pools]
        if duplicate := _first_duplicate(names):
            raise ValueError(f"two pools are named {duplicate!r}")
        if duplicate := _first_duplicate([m for pool in self.pools for m in pool.models]):
            raise ValueError(f"the model name {duplicate!r} is served by two pools or twice by one")
        for pool in self.pools:
            if duplicate := _first_duplicate([e.endpoint_id for e in pool.endpoints]):
                raise ValueError(f"pool {pool.name!r} has two endpoints {duplicate!r}")


def _first_duplicate(values: list[str]) -> str | None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None
