"""Engines on the event kernel: woken when a step ends, slowed down, crashed and started again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from headway_core.facts import EndpointId
from headway_sim.engine import EngineConfig, EngineEvent, EngineRequest, EngineStats
from headway_sim.kernel import Kernel
from headway_sim.profiles import GIVEN, Constants, StepTimes
from headway_sim.step_model import DecodeLine, StepModel, stretched

STEP_PRIORITY = 1
"""What reaches an engine in the instant a step ends comes before the end of the step."""


class EngineDriver(Protocol):
    """The engine model as the world drives it."""

    def submit(self, request: EngineRequest, now_ns: int) -> None: ...

    def abort(self, request_id: str, now_ns: int) -> bool: ...

    def catch_up(self, now_ns: int) -> None: ...

    def next_event_ns(self) -> int | None: ...

    def advance(self, to_ns: int) -> list[EngineEvent]: ...

    def stats(self) -> EngineStats: ...


EngineBuilder = Callable[[EngineConfig, StepModel], EngineDriver]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """What runs behind an endpoint."""

    profile: str
    """Its name, for reports."""
    config: EngineConfig
    step_model: StepModel
    step_times: StepTimes = GIVEN
    api: Constants | None = None
    """What a request passes before the engine sees it.  None: nothing."""

    def api_s(self, prompt_tokens: int) -> float:
        return 0.0 if self.api is None else self.api.api_s(prompt_tokens)


class Throttled:
    """Another step model, every step ``factor`` times as long; the factor may change."""

    def __init__(self, model: StepModel) -> None:
        self._model = model
        self.factor = 1.0

    def step(
        self, prefill_chunks: Sequence[tuple[int, int]], decodes: int, kv_tokens: int
    ) -> float:
        return self.factor * self._model.step(prefill_chunks, decodes, kv_tokens)

    def decode_line(self, decodes: int, kv_tokens: int) -> DecodeLine:
        return stretched(self._model.decode_line(decodes, kv_tokens), self.factor)


class Host:
    """One endpoint's engine, over its crashes.  ``told`` gets every event at its own instant."""

    def __init__(
        self,
        endpoint_id: EndpointId,
        spec: EngineSpec,
        build: EngineBuilder,
        kernel: Kernel,
        told: Callable[["Host", EngineEvent], None],
    ) -> None:
        self.endpoint_id = endpoint_id
        self.spec = spec
        self._throttle = Throttled(spec.step_model)
        self._build = build
        self._kernel = kernel
        self._told = told
        self._engine: EngineDriver | None = None
        self._wakes_ns: int | None = None
        self._ended = _NO_ENGINE_YET

    @property
    def is_up(self) -> bool:
        return self._engine is not None

    def start(self) -> None:
        """With an empty cache.  Without effect while it is up."""
        if self._engine is None:
            self._engine = self._build(self.spec.config, self._throttle)

    def stop(self) -> None:
        """Its process is gone, with all that it held.  Without effect while it is down."""
        if self._engine is not None:
            self._engine.catch_up(self._kernel.now_ns)
            self._ended = self._counted(self._engine.stats())
            self._engine = None
            self._wakes_ns = None

    def submit(self, request: EngineRequest) -> None:
        """Raises: InvalidEngineRequest.  The engine must be up."""
        assert self._engine is not None
        self._engine.submit(request, self._kernel.now_ns)
        self._set_wake(self._engine)

    def abort(self, request_id: str) -> None:
        """Without effect if it is not there."""
        if self._engine is not None and self._engine.abort(request_id, self._kernel.now_ns):
            self._set_wake(self._engine)

    def slow_down(self, factor: float) -> None:
        """From now on steps take ``factor`` times as long as in the profile."""
        if self._engine is not None:
            self._engine.catch_up(self._kernel.now_ns)
        self._throttle.factor = factor
        if self._engine is not None:
            self._set_wake(self._engine)

    def stats(self) -> EngineStats:
        """As of now.  The engine must be up."""
        engine = self._engine
        assert engine is not None
        self._advance(engine)
        return engine.stats()

    def counters(self) -> "Counters":
        """Of all its processes so far."""
        return self._ended if self._engine is None else self._counted(self.stats())

    def _counted(self, now: EngineStats) -> "Counters":
        before = self._ended
        return Counters(
            before.preemptions + now.preemptions,
            before.prefix_queries + now.prefix_queries,
            before.prefix_hits + now.prefix_hits,
            before.steps + now.steps,
            before.busy_s + now.busy_s,
        )

    def _wake(self, due_ns: int) -> None:
        if self._engine is not None and self._wakes_ns == due_ns:
            self._wakes_ns = None
            self._advance(self._engine)

    def _advance(self, engine: EngineDriver) -> None:
        events = engine.advance(self._kernel.now_ns)
        for event in events:
            self._told(self, event)
        # Without news there is nothing that comes earlier than planned.
        if events or self._wakes_ns is None:
            self._set_wake(engine)

    def _set_wake(self, engine: EngineDriver) -> None:
        """One that is due later than planned is woken in vain, which does no harm."""
        due_ns = engine.next_event_ns()
        if due_ns is None or (self._wakes_ns is not None and self._wakes_ns <= due_ns):
            return
        self._wakes_ns = max(due_ns, self._kernel.now_ns)
        self._kernel.at(self._wakes_ns, self._wake, self._wakes_ns, STEP_PRIORITY)


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters of an endpoint, which outlive its processes."""

    preemptions: int
    prefix_queries: int
    prefix_hits: int
    steps: int
    busy_s: float
    """Length of all steps."""


_NO_ENGINE_YET = Counters(0, 0, 0, 0, 0.0)
