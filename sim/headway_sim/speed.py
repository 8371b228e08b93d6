"""What the simulator's own speed is measured on: a trace, a fleet of one kind of engine, a policy.

Eight engines get the trace as recorded; more engines get it so much faster, so that an engine
always has the same to do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headway_core.facts import Capacity, Endpoint, Slo
from headway_core.policy import Fleet, Policy, Pool
from headway_sim.content import Contents, SizeEstimate
from headway_sim.engine import Engine, EngineConfig, EngineRequest
from headway_sim.profiles import profile
from headway_sim.scenario.scenario import Scenario
from headway_sim.scenario.sources import TraceSource
from headway_sim.scenario.workload import Workload
from headway_sim.traffic import OpenLoop, compressed
from headway_sim.workloads import mooncake
from headway_sim.workloads.request import Segment, WorkloadRequest
from headway_sim.world.hosts import EngineSpec
from headway_sim.world.setting import Observation, Setting
from headway_sim.world.world import World

RECORDED_ENGINES = 8
PROFILE = "h100-llama-3.1-8b-tp1"
SLO_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedCase:
    policy: str
    engines: int = RECORDED_ENGINES
    block_tokens: int = 512
    """Of the engines.  The router's are those of the trace."""
    repeats: int = 1
    """Of the trace.  A short run is mostly end, in which few are left and all are scraped."""


def requests_of(trace: Path, most: int | None = None) -> tuple[WorkloadRequest, ...]:
    """The first so many.  Raises: InvalidTrace."""
    return mooncake.spread(mooncake.load(trace), seed=0)[:most]


def repeated(requests: Sequence[WorkloadRequest], times: int) -> Iterator[WorkloadRequest]:
    """One after the other, each time with other texts."""
    length_s = requests[-1].at_s
    for turn in range(times):
        for request in requests:
            prompt = tuple(Segment(f"{turn}/{s.key}", s.tokens) for s in request.prompt)
            yield replace(request, at_s=turn * length_s + request.at_s, prompt=prompt)


def engine_config(block_tokens: int) -> EngineConfig:
    """The profile's, with blocks of another size: its cache holds as many tokens."""
    given = profile(PROFILE).config
    blocks = given.kv_tokens // block_tokens
    longest = min(given.max_model_len, blocks * block_tokens)
    return replace(given, block_tokens=block_tokens, num_blocks=blocks + 1, max_model_len=longest)


def world(case: SpeedCase, trace: Path, requests: Sequence[WorkloadRequest]) -> World:
    """Ready to run.  Raises: InvalidScenario: an unknown policy."""
    config = engine_config(case.block_tokens)
    spec = EngineSpec(profile=PROFILE, config=config, step_model=profile(PROFILE).step_model)
    capacity = Capacity(kv_cache_tokens=config.kv_tokens)
    names = [f"engine-{number}" for number in range(case.engines)]
    endpoints = tuple(Endpoint(endpoint_id=n, name=n, capacity=capacity) for n in names)
    pool = Pool(
        name="speed/pool", model="m", endpoints=endpoints, slo=Slo(ttft_s=SLO_S), policy=Policy()
    )
    scenario = Scenario(
        name="speed",
        fleet=Fleet(pools=(pool,)),
        engines=dict.fromkeys(names, spec),
        workload=Workload(source=TraceSource(file=trace)),
        setting=Setting(
            observation=Observation(block_tokens=mooncake.BLOCK_TOKENS, size_error=0.0)
        ),
        policy=case.policy,
    )
    once = list(compressed(requests, case.engines / RECORDED_ENGINES))
    return World(
        fleet=scenario.fleet,
        engines=scenario.engines,
        traffic=OpenLoop(repeated(once, case.repeats) if case.repeats > 1 else once),
        make_picker=scenario.make_picker(),
        setting=scenario.setting,
    )


def arrivals(
    requests: Sequence[WorkloadRequest], block_tokens: int
) -> list[tuple[int, EngineRequest]]:
    """For `drive`: (instant, request); what one engine of eight would get is every eighth."""
    contents = Contents(SizeEstimate(0.0, seed=0))
    return [
        (
            round(request.at_s * 1e9),
            EngineRequest(
                request_id=str(number),
                prompt_tokens=request.prompt_tokens,
                output_tokens=request.output_tokens,
                block_hashes=contents.engine_blocks(request, block_tokens),
            ),
        )
        for number, request in enumerate(requests)
    ]


def drive(engine: Engine, coming: Sequence[tuple[int, EngineRequest]]) -> int:
    """One engine alone, until it is idle.  Returns the number of its steps."""
    for at_ns, request in coming:
        engine.submit(request, at_ns)
        engine.advance(at_ns)
    while (due_ns := engine.next_event_ns()) is not None:
        engine.advance(due_ns)
    return engine.stats().steps
