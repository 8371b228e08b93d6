"""A measured run: what was asked of a real engine, and what came out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headway_sim.profiles.deployment import Deployment
from headway_sim.profiles.versions import Version
from headway_sim.report import percentile
from headway_sim.workloads.request import Segment, WorkloadRequest

METRICS = ("ttft_mean_s", "e2e_mean_s", "tpot_mean_s", "ttft_p99_s")
"""TPOT is (E2E - TTFT) / (output tokens - 1), by request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A load that was held for a while."""

    name: str
    requests: tuple[WorkloadRequest, ...]
    """In order; times from the start of the stage."""
    measured: Mapping[str, float]
    """By `METRICS`."""
    median_ttft_s: float

    @property
    def has_queued(self) -> bool:
        """Its late TTFTs are of requests that waited for a seat or for KV blocks.

        How long they wait tells of the load, not of what the API server takes.
        """
        return self.measured["ttft_p99_s"] > 5 * self.median_ttft_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A request that was served; times on any one clock."""

    prompt: tuple[Segment, ...]
    output_tokens: int
    arrived_s: float
    first_token_s: float
    last_token_s: float


def stage_of(served: Iterable[Timed]) -> Stage:
    """One stage of all these requests, at least one."""
    ordered = sorted(served, key=lambda request: request.arrived_s)
    start_s = ordered[0].arrived_s
    ttfts = [request.first_token_s - request.arrived_s for request in ordered]
    e2es = [request.last_token_s - request.arrived_s for request in ordered]
    output = [request.output_tokens for request in ordered]
    return Stage(
        name="0",
        requests=tuple(
            WorkloadRequest(
                at_s=request.arrived_s - start_s,
                prompt=request.prompt,
                output_tokens=request.output_tokens,
            )
            for request in ordered
        ),
        measured=figures(ttfts, e2es, output),
        median_ttft_s=percentile(sorted(ttfts), 50),
    )


def figures(
    ttfts_s: Sequence[float], e2es_s: Sequence[float], output_tokens: Sequence[int]
) -> dict[str, float]:
    """`METRICS` of requests; TPOT is 0 if none has a second token."""
    tpots = [
        (e2e - ttft) / (tokens - 1)
        for ttft, e2e, tokens in zip(ttfts_s, e2es_s, output_tokens, strict=True)
        if tokens > 1
    ]
    return {
        "ttft_mean_s": sum(ttfts_s) / len(ttfts_s),
        "e2e_mean_s": sum(e2es_s) / len(e2es_s),
        "tpot_mean_s": sum(tpots) / len(tpots) if tpots else 0.0,
        "ttft_p99_s": percentile(sorted(ttfts_s), 99),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRun:
    """Stages follow each other on one engine that starts with an empty cache."""

    name: str
    deployment: Deployment
    vllm: Version
    engine: Mapping[str, int]
    """Fields of `EngineConfig` that were set."""
    is_timed_by_client: bool
    """TTFT and E2E contain the API server; False: taken inside the engine."""
    stages: tuple[Stage, ...]
    source: str
