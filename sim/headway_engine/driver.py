"""The engine model on a wall clock: one wake-up per engine step, however many streams it feeds.

The model is asked when something happens next; this task sleeps until then, takes all events up to
now, moves the generations they belong to, and wakes each response once.  An idle engine has no next
event, so its process sleeps.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter

from headway_engine.clock import EngineClock
from headway_engine.errors import Busy, EngineDead, Refused, bad_request
from headway_engine.generation import Generation
from headway_engine.in_flight import InFlight, StepObserver
from headway_engine.metrics import EngineMetrics
from headway_sim.engine.engine import Engine
from headway_sim.engine.facts import EngineRequest, EngineStats
from headway_sim.errors import InvalidEngineRequest

IDLE_S = 30.0
"""How often an idle driver wakes for nothing."""


class EngineDriver:
    def __init__(
        self,
        engine: Engine,
        clock: EngineClock,
        metrics: EngineMetrics,
        observers: Sequence[StepObserver],
        max_queued: int | None = None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._in_engine = InFlight(metrics, observers)
        self._max_queued = max_queued
        self._held: list[Generation] = []
        self._holding = False
        self._dead = False
        self._wake = asyncio.Event()

    @property
    def is_dead(self) -> bool:
        return self._dead

    @property
    def is_paused(self) -> bool:
        return self._holding

    @property
    def in_flight(self) -> int:
        return len(self._in_engine) + len(self._held)

    @property
    def held(self) -> int:
        """Requests that wait for ``resume``: the engine model does not know them yet."""
        return len(self._held)

    def stats(self) -> EngineStats:
        return self._engine.stats()

    @contextmanager
    def submitted(self, generations: Sequence[Generation]) -> Iterator[None]:
        """In flight until the block ends, however it ends; what is unfinished then is aborted.

        Raises:
            EngineDead: always, once the engine is gone.
            Busy: the limit of requests in flight is reached.
            Refused: the engine cannot serve such a request at all.
        """
        if self._dead:
            raise EngineDead
        if self._max_queued is not None and (self.in_flight + len(generations) > self._max_queued):
            raise Busy
        try:
            for generation in generations:
                self._submit(generation)
            yield
        finally:
            for generation in generations:
                self._drop(generation)

    async def run(self) -> None:
        while True:
            self._advance()
            due_ns = self._engine.next_event_ns()
            wait_s = None if due_ns is None or self._dead else self._clock.wall_s_until(due_ns)
            self._wake.clear()
            try:
                async with asyncio.timeout(IDLE_S if wait_s is None else wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def hang(self) -> None:
        """Make no progress until ``unhang``; requests are still taken in."""
        self._advance()
        self._clock.stop()

    def unhang(self) -> None:
        self._clock.start()
        self._wake.set()

    def straggle(self, factor: float) -> None:
        """From now on every step takes ``factor`` times as long; 1 ends it."""
        self._advance()
        self._clock.straggle(factor)
        self._wake.set()

    def hold(self) -> None:
        """New requests wait until ``release``; those in the engine go on."""
        self._holding = True

    def release(self) -> None:
        self._holding = False
        held, self._held = self._held, []
        for generation in held:
            try:
                self._enter(generation)
            except Refused as error:
                _fail(generation, error)

    def finish_all(self, reason: str) -> None:
        """End what is in the engine, as finished for ``reason``."""
        for generation in self._in_engine.all():
            if self._leave(generation):
                generation.finish_reason = reason
                generation.inbox.notify()

    def die(self) -> None:
        """The engine is gone: what is in flight fails, and so does whatever comes."""
        self._advance()
        self._dead = True
        for generation in self._in_engine.all():
            self._in_engine.remove(generation, 0)
            _fail(generation, EngineDead())
        self.fail_held()

    def fail_held(self) -> None:
        """End what still waits for ``release`` like requests to a dead engine."""
        held, self._held = self._held, []
        for generation in held:
            _fail(generation, EngineDead())

    async def drained(self) -> None:
        """Return when nothing is in the engine."""
        await self._in_engine.none_left()

    def reset_prefix_cache(self) -> bool:
        self._advance()
        done = self._engine.reset_prefix_cache(self._clock.now_ns())
        self._wake.set()
        return done

    def _submit(self, generation: Generation) -> None:
        generation.arrived_ns = self._clock.now_ns()
        if self._holding:
            self._held.append(generation)
        else:
            self._enter(generation)

    def _enter(self, generation: Generation) -> None:
        self._advance()
        blocks, plan = generation.blocks, generation.plan
        request = EngineRequest(
            request_id=generation.engine_id,
            prompt_tokens=len(generation.prompt),
            output_tokens=plan.output_tokens,
            block_hashes=blocks.prompt_hashes(),
            output_block_hash=blocks.hash_of,
            finish_reason=plan.finish_reason,
            priority=generation.priority,
            adapter=generation.adapter,
        )
        try:
            self._engine.submit(request, self._clock.now_ns())
        except InvalidEngineRequest as error:
            raise bad_request(str(error)) from error
        self._in_engine.add(generation)
        self._wake.set()

    def _drop(self, generation: Generation) -> None:
        if generation in self._in_engine:
            self._leave(generation)
        elif generation in self._held:
            self._held.remove(generation)

    def _leave(self, generation: Generation) -> bool:
        """Abort it; False: it has ended meanwhile."""
        self._advance()
        if generation not in self._in_engine:
            return False
        self._engine.abort(generation.engine_id, self._clock.now_ns())
        self._in_engine.remove(generation, self._engine.stats().steps)
        self._wake.set()
        return True

    def _advance(self) -> None:
        if self._dead:
            return
        events = self._engine.advance(self._clock.now_ns())
        if not events:
            return
        steps = self._engine.stats().steps
        for at_ns, step in groupby(events, key=attrgetter("at_ns")):
            self._in_engine.take_step(at_ns, list(step), steps)
        self._in_engine.forget_departed(steps)


def _fail(generation: Generation, error: Refused) -> None:
    generation.error = error
    generation.inbox.notify()
