"""vLLM V1's scheduler: which tokens of which requests the next step computes.

There are no phases.  A request has tokens that are known and tokens that are computed, and every
step lets it catch up as far as the token budget goes: a decode by one, a prefill by a chunk.

1. Running requests first, in order of admission.  One that finds no block preempts others: its
   victims lose their blocks and start over later, by prefilling prompt and output so far.
2. Then waiting requests, unless somebody was preempted.  The first that does not fit stops
   admission for all behind it.

Source: ``vllm/v1/core/sched/{scheduler,async_scheduler}.py`` of 0.32.0 and 0.33.0 (the latter where
they differ: priority preemption, adapter slots), for text models without speculative decoding,
pipeline parallelism or KV connectors.
"""

from dataclasses import dataclass, field
from typing import Any

from headway_sim.engine.config import EngineConfig, SchedulingPolicy
from headway_sim.engine.kv_cache import PrefixCache
from headway_sim.engine.sequence import Phase, Sequence
from headway_sim.engine.waiting import waiting_queue


@dataclass(frozen=True, slots=True)
class Admission:
    sequence: Sequence
    cached_tokens: int
    resumed: bool


@dataclass(slots=True)
class Batch:
    """What one step computes.  Complete once `Scheduler.schedule` has returned it."""

    budget: int
    """Tokens that can still be scheduled."""
    scheduled: dict[Sequence, int] = field(default_factory=dict)
    """New tokens of each request."""
    admitted: list[Admission] = field(default_factory=list)
    preempted: list[Sequence] = field(default_factory=list)
    prefill_chunks: list[tuple[int, int]] = field(default_factory=list)
    """(new tokens, tokens computed before) of requests that are being prefilled."""
    decodes: int = 0
    kv_tokens: int = 0
    """Tokens that the decodes find in the KV cache, in all."""
    sampled: list[Sequence] = field(default_factory=list)
    """Requests that have caught up, and so get an output token."""


class Scheduler:
    """Owns the requests from arrival to the end, and through its cache the blocks."""

    def __init__(self, config: EngineConfig, kv: PrefixCache[Any]) -> None:
        self._config = config
        self.kv = kv
        self.running: list[Sequence] = []
        self.waiting = waiting_queue(config.policy)
        self.deferred: set[Sequence] = set()
        """Waiting requests that were passed over, since their adapter found no slot."""
        self.preemptions = 0
        self.prefix_queries = 0
        self.prefix_hits = 0

    def add(self, sequence: Sequence) -> None:
        self.waiting.push(sequence)

    def schedule(self) -> Batch:
        """Compose a batch, and count its tokens as computed from now on."""
        batch = Batch(self._config.max_num_batched_tokens)
        threshold = self._config.long_prefill_threshold
        if threshold == 0 or len(self.running) + len(self.waiting) <= 1:
            threshold = self._config.max_num_batched_tokens
        self._continue_running(batch, threshold)
        if not batch.preempted:
            self.admit_waiting(batch, threshold)
        self._commit(batch)
        return batch

    def complete(self, batch: Batch) -> list[Sequence]:
        """Append the tokens that ``batch`` computed; return who got one, in order.

        Skips those that ended while it ran: an aborted request, or one that a stop token ended
        one step earlier and whose slot here was wasted.
        """
        asynchronous = self._config.async_scheduling
        advanced = []
        finished = []
        for sequence in batch.sampled:
            if sequence.phase is Phase.FINISHED:
                continue
            sequence.tokens += 1
            # One that was preempted since gets its token all the same; its counts are reset.
            if asynchronous and sequence.phase is Phase.RUNNING:
                sequence.in_flight -= 1
                known = sequence.computed - sequence.in_flight
                if known >= sequence.next_full:
                    self.kv.register(sequence, known)
            if sequence.tokens == sequence.end:
                finished.append(sequence)
            advanced.append(sequence)
        self._remove(finished)
        return advanced

    def abort(self, sequence: Sequence) -> None:
        """End it now and free its blocks.  Its slot in a composed batch is wasted."""
        self._remove([sequence])

    def _continue_running(self, batch: Batch, threshold: int) -> None:
        index = 0
        running = self.running
        while index < len(running) and batch.budget > 0:
            sequence = running[index]
            in_flight = sequence.in_flight
            # One whose token in flight is certain to be its last needs no further step.  (That
            # bounds it by max_model_len too, as every request fits into that.)
            if in_flight and sequence.computed + 2 - in_flight >= sequence.certain_end:
                index += 1
                continue
            missing = sequence.tokens + in_flight - sequence.computed
            new = 1 if missing == 1 else min(missing, threshold, batch.budget)
            end = sequence.computed + new
            if end > sequence.capacity:
                index = self._make_room(sequence, end, index, batch)
                if sequence.phase is not Phase.RUNNING:
                    if self._config.policy == SchedulingPolicy.FCFS:
                        return
                    continue
            if end >= sequence.next_full:
                self.kv.register(sequence, end)
            batch.scheduled[sequence] = new
            batch.budget -= new
            index += 1

    def _make_room(self, sequence: Sequence, end: int, index: int, batch: Batch) -> int:
        """Preempt until ``sequence`` has its blocks, or is itself the victim.

        Returns where it stands in ``running``, or stood.
        """
        while not self.kv.extend(sequence, end):
            place = self._victim()
            victim = self.running.pop(place)
            if place < index:
                index -= 1
            batch.budget += batch.scheduled.pop(victim, 0)
            self._preempt(victim)
            batch.preempted.append(victim)
            if victim is sequence:
                break
        return index

    def _victim(self) -> int:
        """Place of the request to preempt next: admitted last, or least urgent."""
        if self._config.policy == SchedulingPolicy.FCFS:
            return len(self.running) - 1
        return max(range(len(self.running)), key=lambda place: self.running[place].order)

    def _preempt(self, sequence: Sequence) -> None:
        self.kv.release(sequence)
        sequence.phase = Phase.WAITING
        sequence.computed = 0
        sequence.in_flight = 0
        sequence.preemptions += 1
        self.preemptions += 1
        self.waiting.put_back([sequence])

    def admit_waiting(self, batch: Batch, threshold: int) -> None:
        """Fill up ``batch`` with waiting requests, ``threshold`` prompt tokens of each at most."""
        max_loras = self._config.max_loras
        adapters = {s.request.adapter for s in self.running} - {None} if max_loras else set()
        passed_over = []
        while (
            len(self.waiting) > 0
            and batch.budget > 0
            and len(self.running) < self._config.max_num_seqs
        ):
            sequence = self.waiting.head()
            adapter = sequence.request.adapter
            if adapter and max_loras and adapter not in adapters and len(adapters) == max_loras:
                self.deferred.add(self.waiting.pop())
                passed_over.append(sequence)
                continue
            if not self._admit(sequence, batch, threshold):
                break
            if adapter:
                adapters.add(adapter)
        self.waiting.put_back(passed_over)

    def _admit(self, sequence: Sequence, batch: Batch, threshold: int) -> bool:
        hit = self.kv.longest_hit(sequence)
        cached_tokens = len(hit) * self._config.block_tokens
        new = min(sequence.tokens - cached_tokens, threshold, batch.budget)
        end = cached_tokens + new
        must_fit = sequence.tokens if self._config.reserve_full_prompt else end
        if not self.kv.admit(sequence, hit, end, must_fit=must_fit):
            return False
        self.waiting.pop()
        self.deferred.discard(sequence)
        self.running.append(sequence)
        sequence.phase = Phase.RUNNING
        sequence.computed = cached_tokens
        sequence.prefill_end = sequence.tokens
        resumed = sequence.preemptions > 0
        # vLLM counts the look-ups of resumed requests apart, so their own blocks are no hits.
        if self._config.prefix_caching and not resumed:
            self.prefix_queries += sequence.tokens
            self.prefix_hits += cached_tokens
        batch.admitted.append(Admission(sequence, cached_tokens, resumed))
        batch.scheduled[sequence] = new
        batch.budget -= new
        return True

    def _commit(self, batch: Batch) -> None:
        asynchronous = self._config.async_scheduling
        for sequence, new in batch.scheduled.items():
            before = sequence.computed
            sequence.computed = before + new
            if before < sequence.prefill_end:
                batch.prefill_chunks.append((new, before))
            else:
                batch.decodes += 1
                batch.kv_tokens += before
            if sequence.computed == sequence.tokens + sequence.in_flight:
                batch.sampled.append(sequence)
                if asynchronous:
                    sequence.in_flight += 1

    def _remove(self, sequences: list[Sequence]) -> None:
        if not sequences:
            return
        for sequence in sequences:
            if sequence.phase is Phase.WAITING:
                self.waiting.remove(sequence)
                self.deferred.discard(sequence)
            else:
                self.kv.release(sequence)
            sequence.phase = Phase.FINISHED
        self.running = [s for s in self.running if s.phase is Phase.RUNNING]
