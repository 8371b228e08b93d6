"""What a group of endpoints runs as: pods that the operator makes, pods of others, addresses."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from headway_api.cel import Rule
from headway_api.meta import ApiModel, Labels, Name, Port

PRESERVED = {"x-kubernetes-preserve-unknown-fields": True}


class Workload(StrEnum):
    DEPLOYMENT = "Deployment"
    EXTERNAL = "External"
    STATIC = "Static"


class Accelerator(ApiModel):
    """What an endpoint of the group runs on."""

    type: Name
    """For example `h100-80gb`: sets the defaults for what is not declared in `capacity`."""
    count_per_replica: Annotated[int, Field(ge=0, le=64)] = 1
    """Accelerators that a pod of a Deployment group requests."""
    resource_name: Annotated[str, Field(min_length=1, max_length=317)] = "nvidia.com/gpu"
    """The resource by which it requests them."""


class Parallelism(ApiModel):
    """How an engine spreads over its accelerators; their product is what it needs."""

    tensor: Annotated[int, Field(ge=1, le=64)] = 1
    """Engine's `--tensor-parallel-size`."""
    pipeline: Annotated[int, Field(ge=1, le=64)] = 1
    """Engine's `--pipeline-parallel-size`."""
    data: Annotated[int, Field(ge=1, le=8)] = 1
    """Engine's `--data-parallel-size`."""

    @property
    def size(self) -> int:
        return self.tensor * self.pipeline * self.data


class TemplateMetadata(ApiModel):
    """Of the pods, beside what the operator adds."""

    labels: Labels = Field(default_factory=dict)
    """Labels of the pods; those of `headway.dev/` are the operator's."""
    annotations: Labels = Field(default_factory=dict)
    """Annotations of the pods; those of `headway.dev/` are the operator's."""


class Template(ApiModel):
    """A pod as in a Deployment.  What vLLM needs is merged into its container `engine`."""

    metadata: TemplateMetadata = TemplateMetadata()
    """Labels and annotations of the pods."""
    spec: Annotated[dict[str, Any], Field(json_schema_extra=PRESERVED)]
    """PodSpec; needs a container `engine`, whose command is a vLLM server."""


class Rollout(ApiModel):
    """How pods are replaced when the template changes."""

    rules = (
        Rule(
            field="maxUnavailable",
            problem="is 0 together with maxSurge",
            allowed="one of the two above 0",
            cel=(
                "!has(self.maxSurge) || self.maxSurge > 0"
                " || (has(self.maxUnavailable) && self.maxUnavailable > 0)"
            ),
            holds=lambda rollout: rollout.max_surge > 0 or rollout.max_unavailable > 0,
        ),
    )

    max_surge: Annotated[int, Field(ge=0, le=1000)] = 1
    """Pods above the replicas while pods are replaced."""
    max_unavailable: Annotated[int, Field(ge=0, le=1000)] = 0
    """Pods below the replicas while pods are replaced."""
    progress_deadline_seconds: Annotated[int, Field(ge=60, le=86_400)] = 1800
    """A pod that is not ready by then stalls the pool."""


class StaticEndpoint(ApiModel):
    """A model server at a fixed address."""

    name: Name
    """Unique in the group."""
    address: Annotated[str, Field(min_length=2, max_length=45)]
    """IP address, version 4 or 6; gateways dial addresses, not names."""
    port: Port | None = None
    """Default: the pool's `engine.port`."""


Selector = Annotated[
    dict[
        Annotated[str, Field(max_length=317)],
        Annotated[str, Field(max_length=63)],
    ],
    Field(min_length=1, max_length=16),
]
"""Labels that a pod must have, all of them."""


class TopologySpread(StrEnum):
    ZONE = "Zone"
    HOST = "Host"
    NONE = "None"


class DisruptionBudget(StrEnum):
    MANAGED = "Managed"
    NONE = "None"


class Availability(ApiModel):
    """What keeps endpoints up while nodes come and go."""

    disruption_budget: Annotated[DisruptionBudget, Field(strict=False)] = DisruptionBudget.MANAGED
    """`Managed`: a PodDisruptionBudget for each Deployment group, one pod at a time.  `None`:
    yours, or none."""
    topology_spread: Annotated[TopologySpread, Field(strict=False)] = TopologySpread.ZONE
    """Over what the pods of a group are spread, where the scheduler can."""


class Drain(ApiModel):
    """How an endpoint ends."""

    pre_stop_seconds: Annotated[int, Field(ge=0, le=600)] = 15
    """A pod that is to end serves on for so long, while routers learn of it."""
    timeout_seconds: Annotated[int, Field(ge=0, le=7200)] = 120
    """Requests that run may run on for so long: the engine's `--shutdown-timeout`."""
