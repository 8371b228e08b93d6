"""A vLLM V1 engine in simulated time: requests in, tokens and cache events out.

The caller owns the clock.  An event kernel asks `Engine.next_event_ns` and advances to it; a
program on a wall clock advances to *now* whenever it likes.  Either way every step happens at its
own instant and its events carry that instant, so a late call moves nothing.

With asynchronous scheduling a batch is composed when the one before it *starts*:

    step      |---- n ----|--- n+1 ---|--- n+2 ---|
    composed  n+1         n+2         n+3

so what arrives during step n runs first in step n+2, and gets its first token about 2.5 steps
after its arrival.  An idle engine starts at once.  Source: ``step_with_batch_queue`` of
``vllm/v1/engine/core.py``, 0.32.0.
"""

from collections import deque

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
from headway_sim.engine.scheduler import Batch, Scheduler
from headway_sim.engine.sequence import Sequence
from headway_sim.errors import InvalidEngineRequest, TimeRanBackwards
from headway_sim.step_model import StepModel


class Engine:
    """One model server's engine core.

    All instants are integer nanoseconds and never decrease from call to call.  At one instant,
    calls come before steps: a request submitted at the instant a step ends joins the batch that
    is composed then, unless ``advance`` has passed that instant already.
    """

    def __init__(self, config: EngineConfig, step_model: StepModel) -> None:
        self._config = config
        self._step_model = step_model
        self._scheduler = Scheduler(config)
        self._live: dict[str, Sequence] = {}
        self._inbox: deque[Sequence] = deque()
        """Arrived, but the engine has not come to the end of its step yet."""
        self._current: Batch | None = None
        self._ends_ns = 0
        self._ahead: Batch | None = None
        """Composed when the current batch started; never there without a current one."""
        self._events: list[EngineEvent] = []
        self._now_ns = 0
        self._arrivals = 0
        self._steps = 0

    @property
    def config(self) -> EngineConfig:
        return self._config

    def submit(self, request: EngineRequest, now_ns: int) -> None:
        """Raises: InvalidEngineRequest, TimeRanBackwards: it was not accepted."""
        self._require_not_over(now_ns)
        self._catch_up(now_ns)
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
        self._require_not_over(now_ns)
        self._catch_up(now_ns)
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
        self._require_not_over(now_ns)
        self._catch_up(now_ns)
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
        self._catch_up(to_ns + 1)
        self._now_ns = to_ns
        events = self._events
        self._events = []
        return events

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
        )

    def _require_not_over(self, now_ns: int) -> None:
        if now_ns < self._now_ns:
            raise TimeRanBackwards(now_ns, self._now_ns)

    def _catch_up(self, before_ns: int) -> None:
        """Run every step boundary that lies before ``before_ns``."""
        while (at_ns := self._next_boundary_ns()) is not None and at_ns < before_ns:
            self._boundary(at_ns)
        self._now_ns = before_ns

    def _next_boundary_ns(self) -> int | None:
        if self._current is not None:
            return self._ends_ns
        return self._inbox[0].order[1] if self._inbox else None

    def _boundary(self, at_ns: int) -> None:
        """End the current step, take in what has arrived, and start the next step."""
        if self._current is not None:
            self._complete(self._current, at_ns)
        while self._inbox and self._inbox[0].order[1] <= at_ns:
            self._scheduler.add(self._inbox.popleft())
        batch = self._ahead
        if batch is None or not batch.scheduled:
            # With nothing in flight this batch is empty only if nobody is here: whoever runs, or
            # waits first, can have all the blocks.
            batch = self._compose(at_ns)
        self._current = self._ahead = None
        if batch.scheduled:
            self._current = batch
            self._ends_ns = at_ns + self._duration_ns(batch)
            if self._config.async_scheduling:
                self._ahead = self._compose(at_ns)

    def _compose(self, at_ns: int) -> Batch:
        batch = self._scheduler.schedule()
        for sequence in batch.preempted:
            self._events.append(Preempted(sequence.request.request_id, at_ns))
        for admission in batch.admitted:
            request_id = admission.sequence.request.request_id
            self._events.append(
                Scheduled(request_id, at_ns, admission.cached_tokens, admission.resumed)
            )
        return batch

    def _duration_ns(self, batch: Batch) -> int:
        seconds = self._step_model.step(batch.prefill_chunks, batch.decodes, batch.kv_tokens)
        return max(1, round(seconds * 1e9))

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
