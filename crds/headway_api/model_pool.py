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


class Accelerator(ApiModel):
    """What an endpoint of the group runs on."""

    type: Name
    """For example `h100-80gb`: sets the defaults for what is not declared in `capacity`."""


class StaticEndpoint(ApiModel):
    """A model server at a fixed address."""

    name: Name
    """Unique in the group."""
    address: Annotated[str, Field(min_length=2, max_length=45)]
    """IP address, version 4 or 6; gateways dial addresses, not names."""
    port: Port | None = None
    """Default: the pool's `engine.port`."""


class Capacity(ApiModel):
    """What one endpoint of the group can do; learned from traffic where it is not declared."""

    prefill_tokens_per_second: Annotated[int, Field(ge=1, le=2_147_483_647)] | None = None
    """Prompt tokens per second while nothing else runs."""
    kv_cache_tokens: Annotated[int, Field(ge=1, le=9_007_199_254_740_991)] | None = None
    """Tokens that fit into the KV cache."""


class Group(ApiModel):
    """Endpoints of one kind."""

    name: Name
    """Unique in the pool."""
    role: Annotated[Role, Field(strict=False)] = Role.BOTH
    """`Both`: prefill and decode on the same endpoint."""
    workload: Literal["Static"]
    """`Static`: the endpoints are written down here."""
    accelerator: Accelerator | None = None
    """What its endpoints run on."""
    endpoints: Annotated[
        tuple[StaticEndpoint, ...],
        Field(strict=False, min_length=1, max_length=256, json_schema_extra=BY_NAME),
    ]
    """The model servers."""
    capacity: Capacity = Capacity()
    """What one of them can do."""


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

    model: Model
    """What the pool serves."""
    engine: Engine = Engine()
    """How its engines are reached."""
    groups: Annotated[
        tuple[Group, ...],
        Field(strict=False, min_length=1, max_length=16, json_schema_extra=BY_NAME),
    ]
    """Its endpoints by kind; the first group is the measure of the others' capacity."""
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
