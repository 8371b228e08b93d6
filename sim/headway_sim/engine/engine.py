"""A vLLM V1 engine in simulated time: requests in, tokens and cache events out.

The caller owns the clock.  An event kernel asks `Engine.next_event_ns` and advances to it; a
program on a wall clock advances to *now* whenever it likes.  Either way every step happens at its
own instant and its events carry that instant, so a late call moves nothing.  Between two steps the
engine counts in femtoseconds: the ends of a thousand steps are those of their sum, however each of
them would have been rounded.

With asynchronous scheduling a batch is composed when the one before it *starts*:

    step      |---- n ----|--- n+1 ---|--- n+2 ---|
    composed  n+1         n+2         n+3

so what arrives during step n runs first in step n+2, and gets its first token about 2.5 steps
after its arrival.  An idle engine starts at once.  Source: ``step_with_batch_queue`` of
``vllm/v1/engine/core.py``, 0.32.0.
"""

from collections import deque
from typing import Any, Protocol

from headway_sim.engine.config import EngineConfig
from headway_sim.engine.facts import (
    EngineEvent,
    EngineRequest,
    EngineStats,
    FinishReason,
    Preempted,
    RequestFinished,
    Scheduled,
    TokenEmitted,
)
from headway_sim.engine.kv_cache import KvCache, PrefixCache
from headway_sim.engine.scheduler import Batch, Scheduler
from headway_sim.engine.sequence import Sequence
from headway_sim.errors import InvalidEngineRequest, TimeRanBackwards
from headway_sim.step_model import StepModel

FS_PER_NS = 1_000_000


class Priced(Protocol):
    """A batch, as far as its length goes."""

    prefill_chunks: list[tuple[int, int]]
    decodes: int
    kv_tokens: int


class Engine:
    """One model server's engine core.

    All instants are integer nanoseconds and never decrease from call to call.  At one instant,
    calls come before steps: a request submitted at the instant a step ends joins the batch that
    is composed then, unless ``advance`` has passed that instant already.
    """

    def __init__(
        self, config: EngineConfig, step_model: StepModel, kv: PrefixCache[Any] | None = None
    ) -> None:
        """``kv``: None for the literal list of blocks."""
        self._config = config
        self._step_model = step_model
        self._scheduler = Scheduler(config, KvCache(config) if kv is None else kv)
        self._live: dict[str, Sequence] = {}
        self._inbox: deque[Sequence] = deque()
        """Arrived, but the engine has not come to the end of its step yet."""
        self._current: Batch | None = None
        self._ends_fs = 0
        self._ahead: Batch | None = None
        """Composed when the current batch started; never there without a current one."""
        self._events: list[EngineEvent] = []
        self._now_ns = 0
        self._arrivals = 0
        self._steps = 0
        self._busy_fs = 0

    @property
    def config(self) -> EngineConfig:
        return self._config

    def submit(self, request: EngineRequest, now_ns: int) -> None:
        """Raises: InvalidEngineRequest, TimeRanBackwards: it was not accepted."""
        self.catch_up(now_ns)
        if request.request_id in self._live:
            raise InvalidEngineRequest(request.request_id, "a request of this id is live already")
        sequence = Sequence(request, self._config, now_ns, self._arrivals)
        self._arrivals += 1
        self._live[request.request_id] = sequence
        self._inbox.append(sequence)

    def abort(self, request_id: str, now_ns: int) -> bool:
        """End a request and free its blocks at once; False: it is not (or no longer) here.

        Raises: TimeRanBackwards.
        """
        self.catch_up(now_ns)
        sequence = self._live.pop(request_id, None)
        if sequence is None:
            return False
        if sequence in self._inbox:
            self._inbox.remove(sequence)
        else:
            self._scheduler.abort(sequence)
        self._events.append(
            RequestFinished(request_id, now_ns, FinishReason.ABORT, sequence.generated)
        )
        return True

    def reset_prefix_cache(self, now_ns: int) -> bool:
        """Forget all cached content; False: a request holds blocks, and nothing was done.

        `KvCleared` is told with the events of the next step, as in vLLM.
        Raises: TimeRanBackwards.
        """
        self.catch_up(now_ns)
        return self._scheduler.kv.clear()

    def next_event_ns(self) -> int | None:
        """When to call `advance` next.  None: not before another request comes.

        An instant that is reached already: an earlier call has left events to collect.
        """
        return self._now_ns if self._events else self._next_boundary_ns()

    def advance(self, to_ns: int) -> list[EngineEvent]:
        """Let time pass up to and including ``to_ns``; return what happened since the last call.

        Events are in order of time.  Raises: TimeRanBackwards.
        """
        self._require_not_over(to_ns)
        self._pass_boundaries(to_ns + 1)
        self._now_ns = to_ns
        events = self._events
        self._events = []
        return events

    def catch_up(self, now_ns: int) -> None:
        """Let time pass up to ``now_ns``, but for what happens in that instant.

        To be called before the step model is changed: steps that have started keep their length.
        Raises: TimeRanBackwards.
        """
        self._require_not_over(now_ns)
        self._pass_boundaries(now_ns)
        self._now_ns = now_ns

    def stats(self) -> EngineStats:
        scheduler = self._scheduler
        deferred = len(scheduler.deferred)
        return EngineStats(
            running=len(scheduler.running),
            waiting_capacity=len(scheduler.waiting) + len(self._inbox) - deferred,
            waiting_deferred=deferred,
            kv_usage=scheduler.kv.pool.usage,
            preemptions=scheduler.preemptions,
            prefix_queries=scheduler.prefix_queries,
            prefix_hits=scheduler.prefix_hits,
            steps=self._steps,
            busy_s=self._busy_fs / 1e15,
        )

    def _require_not_over(self, now_ns: int) -> None:
        if now_ns < self._now_ns:
            raise TimeRanBackwards(now_ns, self._now_ns)

    def _pass_boundaries(self, before_ns: int) -> None:
        """Run every step boundary that lies before ``before_ns``."""
        while (at_ns := self._next_boundary_ns()) is not None and at_ns < before_ns:
            self._boundary(at_ns)

    def _next_boundary_ns(self) -> int | None:
        if self._current is not None:
            return nearest_ns(self._ends_fs)
        return self._inbox[0].order[1] if self._inbox else None

    def _boundary(self, at_ns: int) -> None:
        """End the current step, take in what has arrived, and start the next step."""
        starts_fs = at_ns * FS_PER_NS
        if self._current is not None:
            starts_fs = self._ends_fs
            self._complete(self._current, at_ns)
        self._take_in(at_ns)
        self._start(at_ns, starts_fs)

    def _take_in(self, at_ns: int) -> None:
        while self._inbox and self._inbox[0].order[1] <= at_ns:
            self._scheduler.add(self._inbox.popleft())

    def _start(self, at_ns: int, starts_fs: int) -> None:
        batch = self._ahead
        if batch is None or not batch.scheduled:
            # With nothing in flight this batch is empty only if nobody is here: whoever runs, or
            # waits first, can have all the blocks.
            batch = self._compose(at_ns)
        self._current = self._ahead = None
        if batch.scheduled:
            self._current = batch
            self._run(starts_fs, self._length_fs(batch))
            if self._config.async_scheduling:
                self._ahead = self._compose(at_ns)

    def _run(self, starts_fs: int, length_fs: int) -> None:
        self._busy_fs += length_fs
        self._ends_fs = starts_fs + length_fs

    def _compose(self, at_ns: int) -> Batch:
        batch = self._scheduler.schedule()
        self._tell_of_composing(batch, at_ns)
        return batch

    def _tell_of_composing(self, batch: Batch, at_ns: int) -> None:
        for sequence in batch.preempted:
            self._events.append(Preempted(sequence.request.request_id, at_ns))
        for admission in batch.admitted:
            request_id = admission.sequence.request.request_id
            self._events.append(
                Scheduled(request_id, at_ns, admission.cached_tokens, admission.resumed)
            )

    def _length_fs(self, batch: Priced) -> int:
        """At least a nanosecond: no two steps end in the same instant."""
        seconds = self._step_model.step(batch.prefill_chunks, batch.decodes, batch.kv_tokens)
        return max(FS_PER_NS, round(seconds * 1e15))

    def _complete(self, batch: Batch, at_ns: int) -> None:
        self._steps += 1
        events = self._events
        for sequence in self._scheduler.complete(batch):
            request = sequence.request
            request_id = request.request_id
            generated = sequence.tokens - request.prompt_tokens
            events.append(TokenEmitted(request_id, at_ns, generated - 1))
            if sequence.tokens == sequence.end:
                del self._live[request_id]
                events.append(RequestFinished(request_id, at_ns, request.finish_reason, generated))
        events += self._scheduler.kv.publish(at_ns)


def nearest_ns(time_fs: int) -> int:
    return (time_fs + FS_PER_NS // 2) // FS_PER_NS
