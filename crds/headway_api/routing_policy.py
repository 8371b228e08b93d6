"""RoutingPolicy: how requests to some pools are routed."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from headway_api.cel import Rule
from headway_api.meta import (
    AS_A_WHOLE,
    BY_NAME,
    ApiModel,
    Name,
    Resource,
    ResourceName,
    SloSpec,
)
from headway_core.policy import CandidateSet, PrefixAffinity, QueueOrder


class TargetRef(ApiModel):
    """The pool that a policy is for."""

    group: Literal["headway.dev"] = "headway.dev"
    """API group of the target."""
    kind: Literal["ModelPool"] = "ModelPool"
    """Kind of the target."""
    name: ResourceName
    """Name of a ModelPool in the policy's namespace."""


class PrefixAffinitySpec(ApiModel):
    """Whether requests go where the head of their prompt is probably cached."""

    mode: Annotated[PrefixAffinity, Field(strict=False)] = PrefixAffinity.APPROXIMATE
    """`Approximate`: predicted from what was sent where.  `Precise`: corrected by the KV events
    of engines that publish them.  `Disabled`: balance load only."""


class Affinity(ApiModel):
    """What ties a request to an endpoint."""

    prefix: PrefixAffinitySpec = PrefixAffinitySpec()
    """The head of its prompt."""


class Strategy(ApiModel):
    """How an endpoint is chosen."""

    candidates: Annotated[CandidateSet, Field(strict=False)] = CandidateSet.PAIR_PLUS
    """`Pair`: the two of the hash rings.  `PairPlus`: also the least loaded and the longest
    cached.  `All`: every endpoint."""
    affinity: Affinity = Affinity()
    """What ties a request to an endpoint."""
    stale_after_ms: Annotated[int, Field(ge=100, le=600_000)] = 5000
    """An engine's metrics older than this are not used."""


class SloClassSpec(SloSpec):
    """How requests of one class are treated; clients name the class in a header."""

    name: Name
    """Unique in the policy."""
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    """Higher goes first while requests are held."""
    sheddable: bool = False
    """Refuse rather than hold a request that cannot meet its target."""
    vllm_priority: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    """Sent to the engine as X-Vllm-Priority; lower goes first there."""


class FlowControlMode(StrEnum):
    ENABLED = "Enabled"
    DISABLED = "Disabled"


class FlowControlSpec(ApiModel):
    """Holding requests in the router while every good endpoint is busy."""

    mode: Annotated[FlowControlMode, Field(strict=False)] = FlowControlMode.ENABLED
    """`Disabled`: every request is dispatched at once."""
    order: Annotated[QueueOrder, Field(strict=False)] = QueueOrder.TRIAGE
    """Which held request goes next."""
    max_queued_requests: Annotated[int, Field(ge=0, le=1_000_000)] = 1000
    """Requests of the pool held at once; more are refused."""
    queue_timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 30
    """A request held for longer is refused."""


class Resilience(ApiModel):
    """What happens when an endpoint fails."""

    max_attempts: Annotated[int, Field(ge=1, le=2)] = 2
    """Endpoints that a request may try, one after the other."""


class ObservabilitySpec(ApiModel):
    """What is shown of decisions."""

    decision_log_percent: Annotated[int, Field(ge=0, le=100)] = 1
    """Of the requests, in the decision log of routers that write one."""
    trace_percent: Annotated[int, Field(ge=0, le=100)] = 1
    """Of the requests whose clients send no trace context, with routers that export spans."""
    response_header: bool = False
    """Answers say in x-headway-decision where their request went, and why.  Shows addresses."""


class RoutingPolicySpec(ApiModel):
    """How requests to the targeted pools are routed."""

    rules = (
        Rule(
            field="targetRefs",
            problem="names a target twice",
            allowed="each once",
            cel="self.targetRefs.all(a, self.targetRefs.exists_one(b, a.name == b.name))",
        ),
    )

    target_refs: Annotated[
        tuple[TargetRef, ...],
        Field(strict=False, min_length=1, max_length=16, json_schema_extra=AS_A_WHOLE),
    ]
    """The pools that it is for."""
    strategy: Strategy = Strategy()
    """How an endpoint is chosen."""
    slo_classes: Annotated[
        tuple[SloClassSpec, ...], Field(strict=False, max_length=16, json_schema_extra=BY_NAME)
    ] = ()
    """Classes of requests with their own targets."""
    flow_control: FlowControlSpec = FlowControlSpec()
    """Holding requests in the router."""
    resilience: Resilience = Resilience()
    """What happens when an endpoint fails."""
    observability: ObservabilitySpec = ObservabilitySpec()
    """What is shown of decisions."""


class RoutingPolicy(Resource):
    """How requests to some pools are routed."""

    kind: Literal["RoutingPolicy"]
    """RoutingPolicy."""
    spec: RoutingPolicySpec
    """What it asks for."""

    @property
    def target_keys(self) -> tuple[str, ...]:
        """``namespace/name`` of the pools that it is for, in the order of ``targetRefs``."""
        return tuple(f"{self.metadata.namespace}/{ref.name}" for ref in self.spec.target_refs)
