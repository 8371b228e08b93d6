"""Drives the engine model with the requests of a measured run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from headway_sim.content import Contents, SizeEstimate
from headway_sim.engine import EngineRequest, RequestFinished, TokenEmitted
from headway_sim.engine.config import EngineConfig
from headway_sim.fast_forward import FastEngine
from headway_sim.kernel import NS_PER_S, ns
from headway_sim.profiles.constants import Constants
from headway_sim.profiles.profile import EngineProfile
from headway_sim.step_model import StepModel
from headway_sim.validation.run import MeasuredRun, Stage, figures
from headway_sim.world.hosts import EngineDriver

PAUSE_S = 1.0
"""From the last answer of a stage to the next stage."""

BuildEngine = Callable[[EngineConfig, StepModel], EngineDriver]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """Predictions for a stage, without the API server, and how it would add to them."""

    stage: Stage
    ttfts_s: tuple[float, ...]
    e2es_s: tuple[float, ...]
    """Both by request, in order."""
    is_timed_by_client: bool

    def metrics(self, constants: Constants) -> dict[str, float]:
        requests = self.stage.requests
        api = [
            constants.api_s(r.prompt_tokens) if self.is_timed_by_client else 0.0 for r in requests
        ]
        ttfts = [t + a for t, a in zip(self.ttfts_s, api, strict=True)]
        e2es = [t + a for t, a in zip(self.e2es_s, api, strict=True)]
        return figures(ttfts, e2es, [request.output_tokens for request in requests])


def replay(
    run: MeasuredRun, profile: EngineProfile, build: BuildEngine = FastEngine
) -> tuple[Replayed, ...]:
    """``profile`` is of the run's deployment; the run's settings are applied here."""
    limits: dict[str, Any] = dict(run.engine)
    config = replace(profile.config, **limits)
    engine = build(config, profile.with_config(config).step_model)
    contents = Contents(SizeEstimate(0.0, 0))
    start_ns = 0
    found = []
    for stage in run.stages:
        times, end_ns = _stage(engine, config, contents, stage, start_ns)
        start_ns = end_ns + ns(PAUSE_S)
        found.append(
            Replayed(
                stage=stage,
                ttfts_s=tuple(first for first, _ in times),
                e2es_s=tuple(last for _, last in times),
                is_timed_by_client=run.is_timed_by_client,
            )
        )
    return tuple(found)


def _stage(
    engine: EngineDriver, config: EngineConfig, contents: Contents, stage: Stage, start_ns: int
) -> tuple[list[tuple[float, float]], int]:
    """Seconds to the first and the last token of every request, and when the last one ended."""
    arrived: dict[str, int] = {}
    first: dict[str, float] = {}
    last: dict[str, float] = {}

    def advance(to_ns: int) -> None:
        for event in engine.advance(to_ns):
            if isinstance(event, TokenEmitted) and event.index == 0:
                first[event.request_id] = (event.at_ns - arrived[event.request_id]) / NS_PER_S
            elif isinstance(event, RequestFinished):
                last[event.request_id] = (event.at_ns - arrived[event.request_id]) / NS_PER_S

    at_ns = start_ns
    for number, request in enumerate(stage.requests):
        at_ns = start_ns + ns(request.at_s)
        # Up to the instant before: what arrives as a step ends joins the batch composed then.
        if (due_ns := engine.next_event_ns()) is not None and due_ns < at_ns:
            advance(at_ns - 1)
        request_id = f"{stage.name}-{number}"
        arrived[request_id] = at_ns
        engine.submit(
            EngineRequest(
                request_id=request_id,
                prompt_tokens=request.prompt_tokens,
                output_tokens=request.output_tokens,
                block_hashes=contents.engine_blocks(request, config.block_tokens),
            ),
            at_ns,
        )
    while (due_ns := engine.next_event_ns()) is not None:
        at_ns = due_ns
        advance(due_ns)
    return [(first[request_id], last[request_id]) for request_id in arrived], at_ns
