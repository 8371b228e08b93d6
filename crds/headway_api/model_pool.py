"""ModelPool: model servers that serve one model."""

from typing import Annotated, Literal

from pydantic import Field

from headway_api.cel import Rule
from headway_api.meta import (
    ABSOLUTE_PATH,
    ADAPTER,
    BY_NAME,
    EACH_ONCE,
    ApiModel,
    Name,
    Port,
    Resource,
    SloSpec,
)
from headway_api.workload import (
    Accelerator,
    Availability,
    Drain,
    Parallelism,
    Rollout,
    Selector,
    StaticEndpoint,
    Template,
    Workload,
)
from headway_core.facts import Role

ModelName = Annotated[str, Field(min_length=1, max_length=253)]


class Model(ApiModel):
    """What the pool serves, as clients name it."""

    rules = (
        Rule(
            field="name",
            problem="cannot be changed",
            allowed="a new ModelPool for another model",
            cel="self.name == oldSelf.name",
        ),
    )

    name: ModelName
    """The `model` that clients send; what the engines serve it as."""
    aliases: Annotated[
        tuple[ModelName, ...], Field(strict=False, max_length=16, json_schema_extra=EACH_ONCE)
    ] = ()
    """Other values of `model` that reach this pool."""


class Engine(ApiModel):
    """How the pool's engines are reached."""

    port: Port = 8000
    """Where engines listen, unless an endpoint says otherwise."""
    metrics_path: Annotated[str, Field(min_length=1, max_length=256, pattern=ABSOLUTE_PATH)] = (
        "/metrics"
    )
    """Where an engine's Prometheus page is, on its serving port."""


class Capacity(ApiModel):
    """What one endpoint of the group can do; learned from traffic where it is not declared."""

    prefill_tokens_per_second: Annotated[int, Field(ge=1, le=2_147_483_647)] | None = None
    """Prompt tokens per second while nothing else runs."""
    kv_cache_tokens: Annotated[int, Field(ge=1, le=9_007_199_254_740_991)] | None = None
    """Tokens that fit into the KV cache."""


class Group(ApiModel):
    """Endpoints of one kind."""

    rules = (
        Rule(
            field="template",
            problem="belongs to workload Deployment, which needs it",
            allowed="with workload Deployment, and only there",
            cel="(self.workload == 'Deployment') == has(self.template)",
            holds=lambda group: group.is_deployed == (group.template is not None),
        ),
        Rule(
            field="selector",
            problem="belongs to workload External, which needs it",
            allowed="with workload External, and only there",
            cel="(self.workload == 'External') == has(self.selector)",
            holds=lambda group: (
                (group.workload is Workload.EXTERNAL) == (group.selector is not None)
            ),
        ),
        Rule(
            field="endpoints",
            problem="belongs to workload Static, which needs it",
            allowed="with workload Static, and only there",
            cel="(self.workload == 'Static') == has(self.endpoints)",
            holds=lambda group: (group.workload is Workload.STATIC) == bool(group.endpoints),
        ),
        Rule(
            field="replicas",
            problem="belongs to workload Deployment: nothing else is scaled by the operator",
            allowed="with workload Deployment",
            cel="self.workload == 'Deployment' || !has(self.replicas)",
            holds=lambda group: group.is_deployed or group.replicas is None,
        ),
        Rule(
            field="parallelism",
            problem="needs more accelerators than accelerator.countPerReplica",
            allowed="a product of at most countPerReplica",
            cel=(
                "!has(self.accelerator) || self.accelerator.countPerReplica == 0"
                " || self.parallelism.tensor * self.parallelism.pipeline * self.parallelism.data"
                " <= self.accelerator.countPerReplica"
            ),
            holds=lambda group: (
                group.accelerator is None
                or group.accelerator.count_per_replica == 0
                or group.parallelism.size <= group.accelerator.count_per_replica
            ),
        ),
    )

    name: Name
    """Unique in the pool."""
    role: Annotated[Role, Field(strict=False)] = Role.BOTH
    """`Both`: prefill and decode on the same endpoint."""
    workload: Annotated[Workload, Field(strict=False)] = Workload.DEPLOYMENT
    """`Deployment`: the operator runs pods from `template`.  `External`: pods that others run,
    found by `selector`.  `Static`: addresses, in `endpoints`."""
    accelerator: Accelerator | None = None
    """What its endpoints run on."""
    parallelism: Parallelism = Parallelism()
    """How an engine spreads over its accelerators."""
    replicas: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Pods of a Deployment group.  Absent, here and in the pool: somebody else scales the
    Deployment, for example a HorizontalPodAutoscaler, and the operator never does."""
    selector: Selector | None = None
    """Labels of an External group's pods."""
    endpoints: Annotated[
        tuple[StaticEndpoint, ...],
        Field(strict=False, min_length=1, max_length=256, json_schema_extra=BY_NAME),
    ] = ()
    """The model servers of a Static group."""
    template: Template | None = None
    """The pods of a Deployment group."""
    capacity: Capacity = Capacity()
    """What one endpoint can do."""
    rollout: Rollout = Rollout()
    """How its pods are replaced."""

    @property
    def is_deployed(self) -> bool:
        return self.workload is Workload.DEPLOYMENT


class Adapter(ApiModel):
    """A LoRA adapter that every endpoint of the pool has loaded."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=ADAPTER)]
    """The `model` that clients send to get it."""


class Profile(ApiModel):
    """What the model can do."""

    adapters: Annotated[
        tuple[Adapter, ...], Field(strict=False, max_length=64, json_schema_extra=BY_NAME)
    ] = ()
    """LoRA adapters that clients may name as `model`."""


class ModelPoolSpec(ApiModel):
    """Model servers that serve one model, in groups of one kind each."""

    rules = (
        Rule(
            field="replicas",
            problem="is the replicas of one Deployment group that has none of its own",
            allowed="with exactly one group of workload Deployment, without groups[].replicas",
            cel=(
                "!has(self.replicas) || (self.groups.exists_one(g, g.workload == 'Deployment')"
                " && self.groups.all(g, !has(g.replicas)))"
            ),
            holds=lambda spec: (
                spec.replicas is None
                or [g.replicas for g in spec.groups if g.is_deployed] == [None]
            ),
        ),
    )

    model: Model
    """What the pool serves."""
    engine: Engine = Engine()
    """How its engines are reached."""
    groups: Annotated[
        tuple[Group, ...],
        Field(strict=False, min_length=1, max_length=16, json_schema_extra=BY_NAME),
    ]
    """Its endpoints by kind; the first group is the measure of the others' capacity."""
    replicas: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """Pods of the pool's one Deployment group; `kubectl scale` and autoscalers set it."""
    drain: Drain = Drain()
    """How its endpoints end."""
    availability: Availability = Availability()
    """What keeps its endpoints up."""
    paused: bool = False
    """The operator changes nothing of the pool's workloads."""
    profile: Profile = Profile()
    """What the model can do."""
    slo: SloSpec = SloSpec()
    """Latency target of requests whose SLO class has none."""


class ModelPool(Resource):
    """Model servers that serve one model."""

    kind: Literal["ModelPool"]
    """ModelPool."""
    spec: ModelPoolSpec
    """What it is made of."""
