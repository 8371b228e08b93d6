"""What the operator says of a resource: conditions, and a pool's replicas by group."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from headway_api.meta import AS_A_WHOLE, BY_NAME, ApiModel, Name
from headway_core.facts import Role

Count = Annotated[int, Field(ge=0, le=1_000_000)]
Generation = Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]
Reason = Annotated[
    str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
]


class ConditionStatus(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class StatusModel(ApiModel):
    """Written by programs, so built by field names; read back by those of the API."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)


class Condition(StatusModel):
    """One thing that is so, is not so, or cannot be told."""

    type: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z]+$")]
    """What it is about, for example `Ready`."""
    status: Annotated[ConditionStatus, Field(strict=False)]
    """Whether it is so."""
    reason: Reason
    """Why, in one word for programs."""
    message: Annotated[str, Field(max_length=4096)]
    """Why, in a sentence for people; empty where the reason says it all."""
    observed_generation: Generation
    """The generation of the spec that this is about."""
    last_transition_time: Annotated[
        str, Field(max_length=32, json_schema_extra={"format": "date-time"})
    ]
    """When `status` last changed."""


class GroupStatus(StatusModel):
    """A group's replicas, counted as its Deployment counts them; of endpoints where it has none."""

    name: Name
    """Of the group in the spec."""
    role: Annotated[Role, Field(strict=False)]
    """Of the group in the spec."""
    desired: Count | None = None
    """Replicas that should be there.  Absent: nobody has said."""
    replicas: Count
    """Replicas that are there."""
    ready: Count | None = None
    """Those that can serve.  Absent: not known, as nothing probes endpoints outside the cluster."""
    updated: Count | None = None
    """Those made from the present template.  Absent: not a Deployment."""
    workload: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Name of its Deployment."""


Percent = Annotated[int, Field(ge=0, le=100)]


class Traffic(StatusModel):
    """What routers saw of the pool in the last minute or so; rounded, and seldom written."""

    window_seconds: Annotated[int, Field(ge=1, le=86_400)]
    """How long they looked."""
    requests: Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]
    """Placed in that time."""
    queued_requests: Count
    """That waited in routers at its end."""
    cache_hit_percent: Percent | None = None
    """Prompt tokens that were predicted to be cached.  Absent, here and below: no requests."""
    ttft_ms: Annotated[int, Field(ge=0, le=86_400_000)] | None = None
    """Time to first token that 95 of 100 requests did not exceed."""
    slo_attainment_percent: Percent | None = None
    """Requests with a target for the first token that met it."""


class ModelPoolStatus(StatusModel):
    """What the operator found, and when it is right."""

    observed_generation: Generation
    """The generation of the spec that all of this is about."""
    replicas: Count
    """Replicas of all groups."""
    ready_replicas: Count
    """Those known to be able to serve."""
    ready: Annotated[str, Field(max_length=32)]
    """Ready of desired replicas, for example `4/5`."""
    selector: Annotated[str, Field(max_length=512)]
    """Selects the pods that the operator owns for the pool; autoscalers read it."""
    groups: Annotated[
        tuple[GroupStatus, ...], Field(strict=False, max_length=16, json_schema_extra=BY_NAME)
    ] = ()
    """By group."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            strict=False,
            max_length=16,
            json_schema_extra={**BY_NAME, "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
    """`Ready` sums up; `Stalled` is True when a user must act."""
    traffic: Traffic | None = None
    """Absent: no router has reported."""


class AncestorRef(StatusModel):
    """The target of a policy, as the Gateway API names it."""

    group: Annotated[str, Field(max_length=253)]
    """API group."""
    kind: Annotated[str, Field(min_length=1, max_length=63)]
    """Kind."""
    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name, in the namespace of the policy."""


class AncestorStatus(StatusModel):
    """What became of the policy for one target."""

    ancestor_ref: AncestorRef
    """The target."""
    controller_name: Annotated[str, Field(min_length=1, max_length=253)]
    """Who says so."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            strict=False,
            min_length=1,
            max_length=8,
            json_schema_extra={**BY_NAME, "x-kubernetes-list-map-keys": ["type"]},
        ),
    ]
    """`Accepted`, `ResolvedRefs` and `Programmed`."""


class RoutingPolicyStatus(StatusModel):
    """Whether the policy counts, and who runs it."""

    observed_generation: Generation
    """The generation of the spec that all of this is about."""
    ancestors: Annotated[
        tuple[AncestorStatus, ...],
        Field(strict=False, max_length=16, json_schema_extra=AS_A_WHOLE),
    ] = ()
    """By target."""
    effective_hash: Annotated[str, Field(max_length=64)] = ""
    """Of the policy that is in force, as in decisions and on debug pages; empty: none is."""
    programmed_replicas: Count
    """Routers that run this generation."""
    rejected_replicas: Count
    """Routers that cannot."""
    router_replicas: Count
    """Routers that are there."""
    accepted: Annotated[str, Field(max_length=32)]
    """Accepted of all targets, for example `2/2`."""
    programmed: Annotated[str, Field(max_length=32)]
    """Routers that run it of all, for example `3/3`."""
