"""The engine model's scheduler, under the same calls as the real one."""

from headway_sim.engine import EngineConfig, EngineRequest, FinishReason, KvRemoved, KvStored
from headway_sim.engine.kv_cache import KvCache
from headway_sim.engine.scheduler import Batch, Scheduler
from headway_sim.engine.sequence import Sequence
from scheduler_parity.workload import BLOCK_TOKENS, Completed, Composed, Job, State


class ModelScheduler:
    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._kv = KvCache(config)
        self._scheduler = Scheduler(config, self._kv)
        self._live: dict[str, Sequence] = {}
        self._composed: list[Batch] = []

    @property
    def prefix_queries(self) -> int:
        return self._scheduler.prefix_queries

    @property
    def prefix_hits(self) -> int:
        return self._scheduler.prefix_hits

    def add(self, job: Job, number: int, hashes: list[int]) -> None:
        request = EngineRequest(
            request_id=job.request_id,
            prompt_tokens=len(job.prompt),
            output_tokens=len(job.output),
            block_hashes=tuple(hashes[: len(job.prompt) // BLOCK_TOKENS]),
            output_block_hash=hashes.__getitem__,
            finish_reason=FinishReason.STOP if job.stop else FinishReason.LENGTH,
            priority=job.priority,
            adapter=job.adapter,
        )
        sequence = Sequence(request, self._config, number, number)
        self._live[job.request_id] = sequence
        self._scheduler.add(sequence)

    def is_live(self, request_id: str) -> bool:
        return request_id in self._live

    def abort(self, request_id: str) -> None:
        self._scheduler.abort(self._live.pop(request_id))

    def compose(self) -> Composed:
        batch = self._scheduler.schedule()
        self._composed.append(batch)
        return Composed(
            {s.request.request_id: new for s, new in batch.scheduled.items()},
            {s.request.request_id for s in batch.preempted},
        )

    def complete(self) -> Completed:
        tokens = set()
        for sequence in self._scheduler.complete(self._composed.pop(0)):
            request = sequence.request
            reason = None
            if sequence.tokens == sequence.end:
                reason = str(request.finish_reason)
                del self._live[request.request_id]
            tokens.add((request.request_id, reason))
        events: list[tuple[object, ...]] = []
        for event in self._kv.publish(0):
            match event:
                case KvStored(hashes=hashes, parent_hash=parent):
                    events.append(("stored", parent, *hashes))
                case KvRemoved(hashes=hashes):
                    events += [("removed", block_hash) for block_hash in hashes]
        return Completed(tokens, events)

    def state(self) -> State:
        return State(
            running=[s.request.request_id for s in self._scheduler.running],
            waiting=[s.request.request_id for s in self._scheduler.waiting],
            deferred={s.request.request_id for s in self._scheduler.deferred},
            free=self._kv.pool.free_order(),
        )
