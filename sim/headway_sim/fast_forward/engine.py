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
from headway_sim.engine.facts import EngineEvent, RequestFinished, TokenEmitted
from headway_sim.engine.scheduler import Batch
from headway_sim.engine.sequence import Phase
from headway_sim.fast_forward.decode_run import DecodeRun
from headway_sim.fast_forward.extent_cache import ExtentCache
from headway_sim.fast_forward.flight import Composed, Flight
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

    def abort(self, request_id: str, now_ns: int) -> bool:
        self.catch_up(now_ns)
        sequence = self._live.get(request_id)
        if sequence is not None and sequence.phase is Phase.RUNNING:
            self._land()
        self._flight.is_blocked = False  # It may be the one that all others wait behind.
        was_live = super().abort(request_id, now_ns)
        self._is_due = self._is_due or was_live
        return was_live

    def next_event_ns(self) -> int | None:
        """When to call `advance` next: at the next token, end or cache event, or before it.

        None: not before another request comes.
        """
        if self._is_due:
            return self._now_ns
        flight, cruise = self._flight, self._flight.cruise
        current, ahead = flight.current, flight.ahead
        if current is None or self._kv.has_news:
            return self._next_boundary_ns()
        if current.firsts or flight.ending or cruise.has_end(current.index):
            return nearest_ns(self._ends_fs)
        steps, run = self._jump()
        if steps:
            to_end = cruise.next_end - current.index
            if steps == flight.skips_to(to_end) and to_end <= run.steps:
                steps = to_end
            return nearest_ns(self._ends_fs + run.length_fs(steps))
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
        while (at_ns := self._next_boundary_ns()) is not None and at_ns < before_ns:
            if not self._skip(before_ns):
                self._boundary(at_ns)

    def _skip(self, before_ns: int) -> bool:
        """Pass boundaries at which nothing happens but that everybody gets a token."""
        most, run = self._jump()
        if most == 0:
            return False
        limit_fs = before_ns * FS_PER_NS - FS_PER_NS // 2 - self._ends_fs
        batches = 1 + run.steps_before(limit_fs, most - 1)
        self._flight.skip(batches)
        self._steps += batches
        self._run(self._ends_fs, run.length_fs(batches))
        return True

    def _jump(self) -> tuple[int, DecodeRun]:
        """How many boundaries can be skipped, and the steps that start there."""
        flight = self._flight
        most = 0 if self._inbox else flight.skippable()
        if most == 0:
            return 0, _NO_RUN
        assert flight.current is not None
        decodes, kv_tokens = len(flight.cruise), flight.cruise.kv_tokens(flight.current.index + 1)
        line = self._step_model.decode_line(decodes, kv_tokens)
        run = DecodeRun(line, decodes, kv_tokens)
        if run.first_fs < FS_PER_NS:
            return 0, _NO_RUN
        return int(min(most, run.steps)), run

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
        self._take_in(at_ns)
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
        if not flight.foresees():
            self._land()
            return False
        flight.ahead, admissions = flight.compose()
        if admissions is not None:
            self._tell_of_composing(admissions, at_ns)
        return True

    def _land(self) -> None:
        if self._is_flying:
            self._current, self._ahead = land(self._flight)
            self._is_flying = False

    def _finish(self, batch: Composed, at_ns: int) -> None:
        self._steps += 1
        before = len(self._events)
        finished = dict.fromkeys(self._flight.finish(batch))
        members = list(dict.fromkeys((*batch.firsts, *finished)))
        if batch.firsts and finished:
            members.sort(key=attrgetter("place"))
        for member in members:
            request = member.sequence.request
            if member.tokens == request.prompt_tokens and member.first == batch.index:
                self._events.append(TokenEmitted(request.request_id, at_ns, 0))
            if member in finished:
                del self._live[request.request_id]
                self._events.append(
                    RequestFinished(
                        request.request_id, at_ns, request.finish_reason, request.output_tokens
                    )
                )
        self._events += self._kv.publish(at_ns)
        self._is_due = self._is_due or len(self._events) > before

    def _complete(self, batch: Batch, at_ns: int) -> None:
        before = len(self._events)
        super()._complete(batch, at_ns)
        news = [e for e in self._events[before:] if not isinstance(e, TokenEmitted) or e.index == 0]
        self._events[before:] = news
        self._is_due = self._is_due or bool(news)


_NO_RUN = DecodeRun(DecodeLine(0.0, 0.0), 0, 0)
