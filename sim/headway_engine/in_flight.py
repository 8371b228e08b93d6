"""The requests that the engine model has, moved by the events of its steps."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from headway_engine.generation import Generation
from headway_engine.metrics import EngineMetrics
from headway_sim.engine.facts import (
    EngineEvent,
    FinishReason,
    Preempted,
    RequestFinished,
    Scheduled,
    TokenEmitted,
)


class StepObserver(Protocol):
    """Wants to see what a step did to the cache."""

    def step_ended(self, events: Sequence[EngineEvent], owners: Mapping[str, Generation]) -> None:
        """``owners``: the requests that events can name, by the engine's name for them."""
        ...


class InFlight:
    def __init__(self, metrics: EngineMetrics, observers: Sequence[StepObserver]) -> None:
        self._metrics = metrics
        self._observers = observers
        self._live: dict[str, Generation] = {}
        self._departed: dict[str, tuple[Generation, int]] = {}
        """With the steps done when it left: the end of the next step still tells of its blocks."""
        self._quiet = asyncio.Event()
        self._quiet.set()

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, generation: Generation) -> bool:
        return generation.engine_id in self._live

    def all(self) -> list[Generation]:
        return list(self._live.values())

    async def none_left(self) -> None:
        await self._quiet.wait()

    def add(self, generation: Generation) -> None:
        self._live[generation.engine_id] = generation
        self._quiet.clear()

    def remove(self, generation: Generation, steps: int) -> None:
        """``steps``: how many the engine has done."""
        self._live.pop(generation.engine_id, None)
        self._departed[generation.engine_id] = generation, steps
        if not self._live:
            self._quiet.set()

    def forget_departed(self, steps: int) -> None:
        """Let go of those that left before the last of ``steps``: all is told of them."""
        if self._departed:
            self._departed = {n: d for n, d in self._departed.items() if d[1] >= steps}

    def take_step(self, at_ns: int, events: Sequence[EngineEvent], steps: int) -> None:
        if self._observers:
            owners = self._live | {name: g for name, (g, _) in self._departed.items()}
            for observer in self._observers:
                observer.step_ended(events, owners)
        emitted = computed = 0
        for event in events:
            generation = self._live.get(getattr(event, "request_id", ""))
            if generation is None:
                continue
            match event:
                case TokenEmitted():
                    emitted += 1
                    computed += self._token(generation, at_ns)
                case RequestFinished():
                    self._finished(generation, event, steps)
                case Scheduled() if generation.scheduled_ns is None:
                    generation.scheduled_ns = at_ns
                    generation.cached_tokens = event.cached_tokens
                case Preempted():
                    generation.preemptions += 1
        if emitted:
            self._metrics.step(emitted, computed, self._live.values())

    def _token(self, generation: Generation, at_ns: int) -> int:
        """Return the prompt tokens that were computed for it: those of its prefill, at first."""
        computed = 0
        if generation.first_token_ns is None:
            generation.first_token_ns = at_ns
            computed = len(generation.prompt) - (generation.cached_tokens or 0)
            self._metrics.first_token(generation, at_ns)
        else:
            self._metrics.next_token(generation, at_ns)
        generation.emitted += 1
        generation.last_token_ns = at_ns
        every = generation.wake_every
        if every is not None and (generation.emitted == 1 or generation.emitted % every == 0):
            generation.inbox.notify()
        return computed

    def _finished(self, generation: Generation, event: RequestFinished, steps: int) -> None:
        if event.reason is FinishReason.ABORT:
            return
        self.remove(generation, steps)
        generation.finish_reason = str(event.reason)
        generation.siblings.unfinished -= 1
        self._metrics.finished(generation, event.at_ns)
        generation.inbox.notify()
