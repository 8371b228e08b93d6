"""The engine that jumps: many steps of nothing but decodes are one, in closed form.

It gives what `headway_sim.engine.Engine` gives, at the same instants, but

- of the tokens of a request only the first is told (its last one coincides with its end);
- what is told of admissions and preemptions may be collected late: `next_event_ns` names the next
  token, end or cache event.

An engine is touched only when something is delivered to it or observed on it, and a request costs a
few steps whatever the length of its answer.
"""

from operator import attrgetter

from headway_sim.engine.config import EngineConfig
from headway_sim.engine.engine import FS_PER_NS, Engine, nearest_ns
from headway_sim.engine.facts import (
    EngineEvent,
    EngineRequest,
    RequestFinished,
    TokenEmitted,
)
from headway_sim.engine.scheduler import Batch
from headway_sim.engine.sequence import Phase
from headway_sim.fast_forward.decode_run import DecodeRun
from headway_sim.fast_forward.extent_cache import ExtentCache
from headway_sim.fast_forward.flight import Composed, Flight
from headway_sim.fast_forward.jump import Jump, boundaries_before, skip, skippable
from headway_sim.fast_forward.landing import land, take_off
from headway_sim.step_model import DecodeLine, StepModel


class FastEngine(Engine):
    """Driven as `Engine` is, and raises what it raises."""

    def __init__(
        self, config: EngineConfig, step_model: StepModel, *, tells_of_cache: bool = True
    ) -> None:
        """``tells_of_cache``: False saves the events of stored and evicted blocks."""
        self._kv = ExtentCache(config, tells=tells_of_cache)
        super().__init__(config, step_model, self._kv)
        self._flight = Flight(config, self._scheduler, self._kv)
        self._is_flying = True
        self._is_due = False
        """There are events that `next_event_ns` has promised."""
        self._jump: Jump | None = None
        """From the end of a batch on; None: not looked at yet."""

    def submit(self, request: EngineRequest, now_ns: int) -> None:
        super().submit(request, now_ns)
        self._jump = None

    def abort(self, request_id: str, now_ns: int) -> bool:
        self.catch_up(now_ns)
        sequence = self._live.get(request_id)
        if sequence is not None and sequence.phase is Phase.RUNNING:
            self._land()
        # It may be the one that all others wait behind.
        self._flight.is_blocked, self._flight.may_admit = False, True
        was_live = super().abort(request_id, now_ns)
        self._is_due = self._is_due or was_live
        return was_live

    def catch_up(self, now_ns: int) -> None:
        super().catch_up(now_ns)
        self._jump = None

    def next_event_ns(self) -> int | None:
        """When to call `advance` next: at the next token, end or cache event, or before it.

        None: not before another request comes.
        """
        if self._is_due:
            return self._now_ns
        flight = self._flight
        current, ahead = flight.current, flight.ahead
        if current is None or self._kv.has_news:
            return self._next_boundary_ns()
        if current.firsts or flight.ending or flight.cruise.has_end(current.index):
            return nearest_ns(self._ends_fs)
        jump = self._jump or self._plan_jump()
        if jump.most:
            return jump.event_ns
        # What is composed when the current batch ends runs after the one that is ahead.
        after_fs = 0 if ahead is None else self._length_fs(ahead)
        return nearest_ns(self._ends_fs + after_fs)

    def advance(self, to_ns: int) -> list[EngineEvent]:
        events = super().advance(to_ns)
        self._is_due = False
        return events

    def _next_boundary_ns(self) -> int | None:
        if self._flight.current is not None:
            return nearest_ns(self._ends_fs)
        return super()._next_boundary_ns()

    def _pass_boundaries(self, before_ns: int) -> None:
        flight = self._flight
        while True:
            if flight.current is not None:
                at_ns = nearest_ns(self._ends_fs)
            elif (next_ns := super()._next_boundary_ns()) is not None:
                at_ns = next_ns
            else:
                return
            if at_ns >= before_ns:
                return
            jump = self._jump or self._plan_jump()
            if jump.passed < jump.most:
                self._skip(jump, before_ns)
            else:
                self._jump = None
                self._boundary(at_ns)

    def _skip(self, jump: Jump, before_ns: int) -> None:
        """Pass boundaries at which nothing happens but that everybody gets a token."""
        limit_fs = before_ns * FS_PER_NS - FS_PER_NS // 2 - jump.starts_fs
        boundaries = 1 + jump.run.steps_before(limit_fs, jump.most - 1)
        batches = boundaries - jump.passed
        jump.passed = boundaries
        skip(self._flight, batches)
        self._steps += batches
        ends_fs = jump.starts_fs + jump.run.length_fs(boundaries)
        self._run(self._ends_fs, ends_fs - self._ends_fs)

    def _plan_jump(self) -> Jump:
        flight = self._flight
        self._jump = jump = _NO_JUMP
        most = 0 if self._inbox else skippable(flight)
        if most:
            assert flight.current is not None
            cruise, index = flight.cruise, flight.current.index
            decodes, kv_tokens = len(cruise.members), cruise.kv_tokens(index + 1)
            line = self._step_model.decode_line(decodes, kv_tokens)
            run = DecodeRun(line, decodes, kv_tokens)
            if run.first_fs >= FS_PER_NS:
                most = int(min(most, run.steps))
                to_end = cruise.next_end - index
                is_at_end = most == boundaries_before(flight, to_end) and to_end <= run.steps
                event_fs = self._ends_fs + run.length_fs(to_end if is_at_end else most)
                self._jump = jump = Jump(run, most, self._ends_fs, nearest_ns(event_fs))
        return jump

    def _boundary(self, at_ns: int) -> None:
        if not self._is_flying:
            super()._boundary(at_ns)
            self._is_flying = take_off(self._flight, self._scheduler, (self._current, self._ahead))
            if self._is_flying:
                self._current = self._ahead = None
            return
        starts_fs = at_ns * FS_PER_NS
        flight = self._flight
        if flight.current is not None:
            starts_fs = self._ends_fs
            self._finish(flight.current, at_ns)
        if self._inbox:
            was_empty = len(self._scheduler.waiting) == 0
            self._take_in(at_ns)
            flight.arrive(was_empty=was_empty)
        flight.current, flight.ahead = flight.ahead, None
        if flight.current is None and not self._fly(at_ns):
            self._start(at_ns, starts_fs)
            return
        if flight.current is None:
            flight.current = flight.ahead
            flight.ahead = None
        if flight.current is not None:
            self._run(starts_fs, self._length_fs(flight.current))
            if flight.is_asynchronous and not self._fly(at_ns):
                self._ahead = self._compose(at_ns)

    def _fly(self, at_ns: int) -> bool:
        """Compose the batch that is ahead; False: it takes the literal scheduler."""
        flight = self._flight
        if flight.compose_decodes():
            return True
        if not flight.foresees():
            self._land()
            return False
        admissions = flight.compose()
        if admissions is not None:
            self._tell_of_composing(admissions, at_ns)
        return True

    def _land(self) -> None:
        if self._is_flying:
            self._current, self._ahead = land(self._flight)
            self._is_flying = False
            self._jump = None

    def _finish(self, batch: Composed, at_ns: int) -> None:
        self._steps += 1
        events, firsts = self._events, batch.firsts
        before = len(events)
        finished = self._flight.finish(batch)
        members = finished
        if firsts:
            members = firsts
            if finished:
                members = sorted({*firsts, *finished}, key=attrgetter("place"))
        for member in members:
            request = member.sequence.request
            if member.first == batch.index and member.tokens == request.prompt_tokens:
                events.append(TokenEmitted(request.request_id, at_ns, 0))
            if member.last == batch.index:
                del self._live[request.request_id]
                events.append(
                    RequestFinished(
                        request.request_id, at_ns, request.finish_reason, request.output_tokens
                    )
                )
        if self._kv.has_news:
            events += self._kv.publish(at_ns)
        self._is_due = self._is_due or len(events) > before

    def _complete(self, batch: Batch, at_ns: int) -> None:
        before = len(self._events)
        super()._complete(batch, at_ns)
        news = [e for e in self._events[before:] if not isinstance(e, TokenEmitted) or e.index == 0]
        self._events[before:] = news
        self._is_due = self._is_due or bool(news)


_NO_JUMP = Jump(DecodeRun(DecodeLine(0.0, 0.0), 0, 0), 0, 0, 0)
