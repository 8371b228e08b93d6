"""Runs vLLM's scheduler and the engine model side by side and compares them after every call.

A program for the interpreter that has vLLM: ``python -m scheduler_parity.lockstep FIRST COUNT``
takes that many seeded workloads and prints what they covered as JSON.  It fails at the first
difference: in what is scheduled, who is preempted, runs, waits or is deferred, in the free list
block by block with its hashes, in the tokens, the cache events, or the prefix cache counters.
"""

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

from headway_sim.engine import EngineConfig
from scheduler_parity import real
from scheduler_parity.model import ModelScheduler
from scheduler_parity.workload import Composed, Job, random_config, random_jobs


class Lockstep:
    """One workload.  A step is the unit of time: batches end one after the other."""

    def __init__(self, config: EngineConfig, jobs: list[Job], folder: Path) -> None:
        self._config = config
        self._calls = sorted(
            [(job.arrives_step, 0, number, job) for number, job in enumerate(jobs)]
            + [
                (job.aborts_step, 1, number, job)
                for number, job in enumerate(jobs)
                if job.aborts_step is not None
            ],
            key=lambda call: call[:3],
        )
        self._theirs = real.RealScheduler(config, folder)
        self._ours = ModelScheduler(config)
        self.seen: Counter[str] = Counter()

    def run(self) -> None:
        step = 0
        running = False
        ahead: Composed | None = None
        while running or self._calls:
            if running:
                self._complete()
            self._deliver(step)
            if ahead is not None and not ahead.scheduled:
                self._complete()
            if ahead is None or not ahead.scheduled:
                ahead = self._compose()
                if not ahead.scheduled:
                    self._complete()
                    ahead = None
            running = ahead is not None
            ahead = None
            if running and self._config.async_scheduling:
                ahead = self._compose()
            step = step + 1 if running or not self._calls else max(step + 1, self._calls[0][0])
        assert (self._theirs.prefix_queries, self._theirs.prefix_hits) == (
            self._ours.prefix_queries,
            self._ours.prefix_hits,
        )
        self.seen["hit tokens"] += self._ours.prefix_hits

    def _compose(self) -> Composed:
        theirs, ours = self._theirs.compose(), self._ours.compose()
        assert theirs == ours, (theirs, ours)
        self._compare_states()
        self.seen["calls"] += 1
        self.seen["preempted"] += len(ours.preempted)
        self.seen["deferred"] += len(self._ours.state().deferred)
        return ours

    def _complete(self) -> None:
        theirs, ours = self._theirs.complete(), self._ours.complete()
        assert theirs == ours, (theirs, ours)
        self._compare_states()
        self.seen["tokens"] += len(ours.tokens)
        self.seen["removed"] += sum(event[0] == "removed" for event in ours.events)

    def _deliver(self, step: int) -> None:
        while self._calls and self._calls[0][0] <= step:
            _, abort, number, job = self._calls.pop(0)
            if not abort:
                self._theirs.add(job, number)
                self._ours.add(job, number, real.block_hashes(job, self._config))
            elif self._ours.is_live(job.request_id):
                self._theirs.abort(job.request_id)
                self._ours.abort(job.request_id)
                self.seen["aborted"] += 1
        self._compare_states()

    def _compare_states(self) -> None:
        theirs, ours = self._theirs.state(), self._ours.state()
        assert theirs == ours, (theirs, ours)


def main() -> None:
    first, count = int(sys.argv[1]), int(sys.argv[2])
    real.prepare()
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        real.write_model(folder)
        for seed in range(first, first + count):
            rng = Random(seed)
            config = random_config(rng)
            workload = Lockstep(config, random_jobs(rng, config), folder)
            try:
                workload.run()
            except AssertionError as difference:
                raise AssertionError(f"seed {seed}, {config}") from difference
            seen += workload.seen
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main()
