"""Builders for tests of the world: engines with steps of known length, a picker that tells."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from headway_core.events import Event
from headway_core.facts import Capacity, Endpoint, EndpointId, InferenceRequest, Slo
from headway_core.policy import Fleet, Policy, Pool
from headway_sim.engine import EngineConfig
from headway_sim.pickers import Answer, Picker, Sent
from headway_sim.step_model import FourTerm, StepModel
from headway_sim.workloads.request import Segment, WorkloadRequest
from headway_sim.world.hosts import EngineSpec
from headway_sim.world.setting import Observation, Setting

STEP_S = 0.010

QUIET = Setting(router_engine_s=0.0, observation=Observation(block_tokens=16, size_error=0.0))
"""No network delay, an exact estimate, blocks of the size of the engines'."""


def an_engine(
    *,
    seats: int = 8,
    model: StepModel | None = None,
    caching: bool = True,
    asynchronous: bool = False,
) -> EngineSpec:
    """Every step takes 10 ms, unless ``model`` says otherwise."""
    config = EngineConfig(
        num_blocks=2001,
        max_num_seqs=seats,
        max_num_batched_tokens=32_000,
        max_model_len=32_000,
        prefix_caching=caching,
        async_scheduling=asynchronous,
    )
    return EngineSpec(profile="test", config=config, step_model=model or steps_of(STEP_S))


def steps_of(seconds: float, per_prefill_token_s: float = 0.0) -> FourTerm:
    return FourTerm(
        alpha_ms=1000 * seconds,
        beta_ms_per_prefill_token=1000 * per_prefill_token_s,
        gamma_ms_per_sequence=0.0,
        delta_ms_per_kv_token=0.0,
    )


def a_fleet(
    names: Sequence[EndpointId],
    *,
    slo: Slo | None = None,
    policy: Policy | None = None,
    prefill_tokens_per_s: float | None = 10_000.0,
) -> Fleet:
    """One pool of endpoints whose ids are their names."""
    capacity = Capacity(prefill_tokens_per_s=prefill_tokens_per_s)
    endpoints = tuple(Endpoint(endpoint_id=n, name=n, capacity=capacity) for n in names)
    pool = Pool(name="default/m", model="m", endpoints=endpoints, slo=slo)
    return Fleet(pools=(replace(pool, policy=policy or Policy()),))


def a_request(
    at_s: float, *, prompt: int = 100, output: int = 1, text: str | None = None
) -> WorkloadRequest:
    """Its text is its own unless named."""
    key = text or f"own {at_s}"
    return WorkloadRequest(at_s=at_s, prompt=(Segment(key, prompt),), output_tokens=output)


@dataclass(slots=True)
class Scripted:
    """A picker that sends as told, and keeps all that it was told."""

    endpoints: Sequence[EndpointId]
    """For one request after the other; the last for all that follow."""
    fallback_id: EndpointId | None = None
    seen: list[tuple[float, Event]] = field(default_factory=list)
    fleets: list[tuple[float, Fleet]] = field(default_factory=list)
    requests: list[tuple[float, InferenceRequest]] = field(default_factory=list)

    def apply(self, fleet: Fleet, now: float) -> Sequence[Answer]:
        self.fleets.append((now, fleet))
        return ()

    def place(self, request: InferenceRequest, now: float) -> Answer:
        chosen = self.endpoints[min(len(self.requests), len(self.endpoints) - 1)]
        self.requests.append((now, request))
        return Sent(request.request_id, chosen, self.fallback_id)

    def observe(self, event: Event, now: float) -> Sequence[Answer]:
        self.seen.append((now, event))
        return ()

    def tick(self, now: float) -> Sequence[Answer]:
        return ()

    def next_deadline(self) -> float | None:
        return None

    def saw(self, kind: type) -> list[tuple[float, Event]]:
        return [(now, event) for now, event in self.seen if isinstance(event, kind)]

    def make(self, replica: int, starts: int) -> Picker:
        """For worlds of one replica that never restarts."""
        return self
