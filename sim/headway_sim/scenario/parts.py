"""The parts of a scenario file become the values that the world is built from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from headway_core.facts import EndpointId
from headway_core.policy import Fleet, Pool
from headway_sim.engine import EngineConfig
from headway_sim.errors import InvalidScenario
from headway_sim.profiles import profile, read_constants
from headway_sim.scenario.shapes import (
    ConversationsShape,
    EngineShape,
    ObservationShape,
    PoissonShape,
    ScenarioShape,
    WorkloadShape,
)
from headway_sim.scenario.sources import (
    AzureSource,
    ConversationSource,
    PoissonSource,
    ServeGenSource,
    Source,
    TraceSource,
)
from headway_sim.scenario.workload import Workload
from headway_sim.step_model import Dilated
from headway_sim.workloads.multi_turn import MultiTurn
from headway_sim.workloads.poisson import Poisson
from headway_sim.world.hosts import EngineSpec
from headway_sim.world.setting import (
    Fault,
    KvEvents,
    Observation,
    Scrapes,
    Setting,
)


def engines(
    fleet: Fleet, shapes: Sequence[EngineShape], folder: Path
) -> Mapping[EndpointId, EngineSpec]:
    """An engine for every endpoint; files are looked for from ``folder``.

    Raises: InvalidScenario, UnknownProfile, InvalidProfile.
    """
    named = [(_pool(fleet, shape).name, shape.group) for shape in shapes]
    if len(set(named)) < len(named):
        raise InvalidScenario("two entries are about the same endpoints")
    specs: dict[EndpointId, EngineSpec] = {}
    unused = dict.fromkeys(range(len(shapes)))
    for pool in fleet.pools:
        for endpoint in pool.endpoints:
            wanted = [(pool.name, endpoint.group), (pool.name, None)]
            found = next((named.index(name) for name in wanted if name in named), None)
            if found is None:
                raise InvalidScenario(
                    f"no engine is given for group {endpoint.group!r} of pool {pool.name!r}"
                )
            unused.pop(found, None)
            specs[endpoint.endpoint_id] = _spec(shapes[found], folder)
    for number in unused:
        pool_name, group = named[number]
        raise InvalidScenario(f"pool {pool_name!r} has no endpoints in group {group!r}")
    return MappingProxyType(specs)


def workload(shape: WorkloadShape, folder: Path) -> Workload:
    """Raises: InvalidScenario, InvalidWorkload."""
    sources: list[Source] = []
    if shape.trace is not None:
        sources.append(
            TraceSource(
                file=_existing(folder / shape.trace.file),
                arrivals=shape.trace.arrivals,
                below_tokens=shape.trace.below_tokens,
                skip=shape.trace.skip,
            )
        )
    if shape.azure is not None:
        sources.append(AzureSource(file=_existing(folder / shape.azure.file)))
    if shape.servegen is not None:
        sources.append(
            ServeGenSource(
                path=_existing(folder / shape.servegen.path),
                duration_s=shape.servegen.duration_seconds,
                start_s=shape.servegen.from_seconds,
            )
        )
    if shape.conversations is not None:
        sources.append(_conversations(shape.conversations))
    if shape.poisson is not None:
        sources.append(_poisson(shape.poisson))
    if len(sources) != 1:
        raise InvalidScenario(
            f"{len(sources)} sources; allowed: one of trace, azure, servegen, conversations and"
            " poisson"
        )
    return Workload(
        source=sources[0],
        requests=shape.requests,
        rate_per_s=shape.rate_per_second,
        native_rate_per_s=shape.native_rate_per_second,
        concurrency=shape.concurrency,
        think_s=shape.think_seconds,
        follows_answers=shape.follows_answers,
        warm_up_requests=shape.warm_up_requests,
        warm_up_rate_per_s=shape.warm_up_rate_per_second,
    )


def _existing(path: Path) -> Path:
    if not path.exists():
        raise InvalidScenario(f"no such trace: {path}")
    return path


def setting(shape: ScenarioShape, planned: tuple[Fault, ...]) -> Setting:
    return Setting(
        seed=shape.seed,
        replicas=shape.routers.replicas,
        router_engine_s=shape.routers.engine_delay_seconds,
        discovery_s=shape.routers.discovery_seconds,
        observation=_observation(shape.observation),
        faults=planned,
    )


def _pool(fleet: Fleet, shape: EngineShape) -> Pool:
    if shape.pool is None and len(fleet.pools) == 1:
        return fleet.pools[0]
    for pool in fleet.pools:
        if pool.name == shape.pool:
            return pool
    known = ", ".join(pool.name for pool in fleet.pools)
    raise InvalidScenario(f"pool: {shape.pool!r} is none; there are: {known}")


def _spec(shape: EngineShape, folder: Path) -> EngineSpec:
    known = profile(shape.profile, folder)
    if shape.constants is not None:
        known = known.with_constants(read_constants(folder / shape.constants))
    given = known.config
    block_tokens = shape.block_tokens or given.block_tokens
    kv_tokens = shape.kv_tokens or given.kv_tokens
    num_blocks = kv_tokens // block_tokens + 1
    host_tokens = shape.host_kv_tokens
    if host_tokens is None:
        host_tokens = given.host_blocks * given.block_tokens
    max_model_len = shape.max_model_len or min(
        given.max_model_len, max(2, (num_blocks - 1) * block_tokens)
    )
    config: EngineConfig = replace(
        given,
        block_tokens=block_tokens,
        num_blocks=num_blocks,
        host_blocks=host_tokens // block_tokens,
        max_num_seqs=shape.max_num_seqs or given.max_num_seqs,
        max_num_batched_tokens=shape.max_num_batched_tokens or given.max_num_batched_tokens,
        max_model_len=max_model_len,
        prefix_caching=shape.prefix_caching,
    )
    model = known.with_config(config).step_model
    return EngineSpec(
        profile=known.name,
        config=config,
        step_model=model if shape.slowdown == 1 else Dilated(model, shape.slowdown),
        step_times=known.step_times,
        api=known.api,
    )


def _conversations(shape: ConversationsShape) -> ConversationSource:
    talk = MultiTurn(
        users=shape.users,
        think_s=shape.think_seconds,
        read_s_per_token=shape.read_seconds_per_token,
        system_prompts=shape.system_prompts,
        popularity_exponent=shape.popularity_exponent,
        system_tokens=shape.system_tokens,
        first_user_tokens=shape.first_user_tokens,
        next_user_tokens=shape.next_user_tokens,
        output_tokens=shape.output_tokens,
        turns=shape.turns,
    )
    return ConversationSource(shape=talk, duration_s=shape.duration_seconds)


def _poisson(shape: PoissonShape) -> PoissonSource:
    return PoissonSource(
        shape=Poisson(
            rate_per_s=shape.rate_per_second,
            groups=shape.groups,
            popularity_exponent=shape.popularity_exponent,
            head_tokens=shape.head_tokens,
            question_tokens=shape.question_tokens,
            output_tokens=shape.output_tokens,
        )
    )


def _observation(shape: ObservationShape) -> Observation:
    kv, scrape = shape.kv_events, shape.scrape
    return Observation(
        scrapes=Scrapes(
            interval_s=scrape.interval_seconds,
            jitter=scrape.jitter,
            delay_s=scrape.delay_seconds,
            loss=scrape.loss,
        ),
        first_tokens=shape.first_tokens,
        sampled_share=shape.sampled_share,
        cache_view_s=shape.cache_view_seconds,
        sampled_streams=shape.sampled_streams,
        kv_events=None
        if kv is None
        else KvEvents(
            delay_s=kv.delay_seconds,
            loss=kv.loss,
            gaps_s=tuple((gap.from_seconds, gap.to_seconds) for gap in kv.gaps),
        ),
        block_tokens=shape.block_tokens,
        size_error=shape.size_error,
    )
