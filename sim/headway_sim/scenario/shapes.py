"""The fields of a scenario file.  Every default is that of the value which the field becomes."""

from typing import Annotated

from pydantic import Field

from headway_api.meta import ApiModel
from headway_sim.scenario.scenario import PRODUCTION
from headway_sim.scenario.sources import Arrivals
from headway_sim.workloads.multi_turn import MultiTurn
from headway_sim.world.setting import FirstTokens, KvEvents, Observation, Scrapes, Setting

Seconds = Annotated[float, Field(ge=0, le=1e9)]
Positive = Annotated[float, Field(gt=0, le=1e9)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Span = Annotated[tuple[Count, Count], Field(strict=False)]
Text = Annotated[str, Field(min_length=1, max_length=4096)]

_SETTING, _SCRAPES, _SEEN, _KV = Setting(), Scrapes(), Observation(), KvEvents()
_TALK = MultiTurn(users=1)


class EngineShape(ApiModel):
    """What runs behind the endpoints of a group; what is left out is the profile's."""

    pool: Text | None = None
    """`namespace/name`; may be left out where there is one pool."""
    group: Text | None = None
    """None: every group of the pool that no other entry names."""
    profile: Text
    """A name, or a compiled file from the folder of the scenario."""
    constants: Text | None = None
    """File that `headway profile calibrate` has written, from the same folder."""
    block_tokens: Count | None = None
    """The KV cache keeps its size in tokens."""
    kv_tokens: Count | None = None
    host_kv_tokens: Annotated[int, Field(ge=0)] | None = None
    """Of a tier in the host's memory; None: as many as the profile's."""
    max_num_seqs: Count | None = None
    max_num_batched_tokens: Count | None = None
    max_model_len: Count | None = None
    prefix_caching: bool = True
    slowdown: Positive = 1.0
    """Every step takes so many times as long as in the profile."""


class TraceShape(ApiModel):
    file: Text
    """From the folder of the scenario file."""
    arrivals: Annotated[Arrivals, Field(strict=False)] = Arrivals.SPREAD
    below_tokens: Count | None = None
    skip: Annotated[int, Field(ge=0)] = 0


class AzureShape(ApiModel):
    file: Text
    """From the folder of the scenario file."""


class ServeGenShape(ApiModel):
    path: Text
    """A folder or a tar, from the folder of the scenario file."""
    duration_seconds: Positive
    from_seconds: Seconds = 0.0


class ConversationsShape(ApiModel):
    users: Count
    duration_seconds: Positive
    think_seconds: Positive = _TALK.think_s
    read_seconds_per_token: Positive = _TALK.read_s_per_token
    system_prompts: Count = _TALK.system_prompts
    popularity_exponent: Seconds = _TALK.popularity_exponent
    system_tokens: Span = _TALK.system_tokens
    first_user_tokens: Span = _TALK.first_user_tokens
    next_user_tokens: Span = _TALK.next_user_tokens
    output_tokens: Span = _TALK.output_tokens
    turns: Span = _TALK.turns


class PoissonShape(ApiModel):
    rate_per_second: Positive
    groups: Count = 8
    popularity_exponent: Seconds = 1.0
    head_tokens: Span = (512, 1536)
    question_tokens: Span = (64, 1024)
    output_tokens: Span = (16, 256)


class WorkloadShape(ApiModel):
    """Exactly one of `trace`, `azure`, `servegen`, `conversations` and `poisson`."""

    trace: TraceShape | None = None
    azure: AzureShape | None = None
    servegen: ServeGenShape | None = None
    conversations: ConversationsShape | None = None
    poisson: PoissonShape | None = None
    requests: Count | None = None
    rate_per_second: Positive | None = None
    native_rate_per_second: Positive | None = None
    concurrency: Count | None = None
    think_seconds: Seconds = 0.0
    follows_answers: bool = False
    warm_up_requests: Annotated[int, Field(ge=0)] = 0
    warm_up_rate_per_second: Positive | None = None


class ScrapeShape(ApiModel):
    interval_seconds: Positive = _SCRAPES.interval_s
    jitter: Annotated[float, Field(ge=0, lt=1)] = _SCRAPES.jitter
    delay_seconds: Seconds = _SCRAPES.delay_s
    loss: Share = _SCRAPES.loss


class GapShape(ApiModel):
    from_seconds: Seconds
    to_seconds: Seconds


class KvEventsShape(ApiModel):
    delay_seconds: Seconds = _KV.delay_s
    loss: Share = _KV.loss
    gaps: Annotated[tuple[GapShape, ...], Field(strict=False)] = ()


class ObservationShape(ApiModel):
    scrape: ScrapeShape = ScrapeShape()
    first_tokens: Annotated[FirstTokens, Field(strict=False)] = _SEEN.first_tokens
    sampled_share: Share = _SEEN.sampled_share
    cache_view_seconds: Positive | None = None
    sampled_streams: Annotated[int, Field(ge=0)] | None = None
    """Instead of a share: so many of each router at once."""
    kv_events: KvEventsShape | None = None
    block_tokens: Count = _SEEN.block_tokens
    size_error: Share = _SEEN.size_error


class RoutersShape(ApiModel):
    replicas: Count = _SETTING.replicas
    engine_delay_seconds: Seconds = _SETTING.router_engine_s
    discovery_seconds: Seconds = _SETTING.discovery_s


class CrashShape(ApiModel):
    endpoint: Text
    """`group/name` or `address:port`."""
    at_seconds: Seconds
    down_seconds: Positive | None = None


class StragglerShape(ApiModel):
    endpoint: Text
    at_seconds: Seconds
    for_seconds: Positive
    factor: Positive


class DrainShape(ApiModel):
    endpoint: Text
    at_seconds: Seconds
    grace_seconds: Seconds


class JoinShape(ApiModel):
    endpoint: Text
    at_seconds: Seconds
    start_seconds: Seconds = 0.0


class RouterRestartShape(ApiModel):
    replica: Annotated[int, Field(ge=0)] = 0
    at_seconds: Seconds
    down_seconds: Seconds = 1.0


class FaultShape(ApiModel):
    """Exactly one of them."""

    crash: CrashShape | None = None
    straggler: StragglerShape | None = None
    drain: DrainShape | None = None
    join: JoinShape | None = None
    router_restart: RouterRestartShape | None = None


class JudgedShape(ApiModel):
    """What the report judges by, instead of the pool's own target."""

    ttft_seconds: Positive | None = None
    ttft_seconds_per_1k_tokens: Seconds = 0.0
    tpot_seconds: Positive | None = None


class ScenarioShape(ApiModel):
    config: Text
    """Folder of ModelPool and RoutingPolicy documents, from the folder of this file."""
    policy: Text = PRODUCTION
    parameters: dict[str, bool | int | float] = Field(default_factory=dict)
    seed: Annotated[int, Field(ge=0)] = _SETTING.seed
    model: str = ""
    engines: Annotated[tuple[EngineShape, ...], Field(strict=False, min_length=1)]
    workload: WorkloadShape
    routers: RoutersShape = RoutersShape()
    observation: ObservationShape = ObservationShape()
    faults: Annotated[tuple[FaultShape, ...], Field(strict=False)] = ()
    slo: JudgedShape = JudgedShape()
    literal_engines: bool = False
    until_seconds: Positive | None = None
