"""The decision log: calls of the core as JSON lines, a sample of them or all (`docs/decisions.md`).

Lines are collected on the event loop and written by a thread, so a slow disk or a stalled reader of
standard output delays no request; what does not fit meanwhile is lost, and counted.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random
from threading import Lock
from time import time
from uuid import uuid4

import orjson
import xxhash

from headway_core.outcomes import Outcome
from headway_core.policy import Fleet, Observability
from headway_core.recording import Call, Recorded
from headway_router.errors import CannotWrite
from headway_router.metric_labels import LogLineOutcome
from headway_router.metrics import Metrics
from headway_router.settings import Settings

log = logging.getLogger(__name__)

VERSION = 1
STANDARD_OUTPUT = "-"
WRITE_EVERY_S = 0.5
MAX_PENDING_BYTES = 16 * 2**20
_NO_POOLS_SHARE = Observability().decision_log_share


def is_sampled(request_id: str, share: float) -> bool:
    """The same in every router: it depends on the id alone."""
    return xxhash.xxh3_64_intdigest(request_id.encode()) < share * 2**64


class DecisionLog:
    """Appends to a file, or to standard output, what its ``core`` is asked and answers.

    Raises:
        CannotWrite: the file cannot be opened.
    """

    def __init__(self, target: str, *, is_complete: bool, metrics: Metrics) -> None:
        self._file = sys.stdout.fileno() if target == STANDARD_OUTPUT else _opened(Path(target))
        self._metrics = metrics
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._is_failing = False
        self._writing = Lock()
        """The last lines may come while a thread still writes those before."""
        self._fleet: Fleet | None = None
        self._shares: Mapping[str, float] = {}
        seed = uuid4().hex
        self.core = Recorded(Random(seed), self._tell, None if is_complete else self._is_wanted)
        start = {"call": "start", "seed": seed, "is_complete": is_complete, "pid": os.getpid()}
        self._add({"unix_s": time(), **start})

    def _is_wanted(self, outcome: Outcome) -> bool:
        """A share of each pool's requests, as its policy says; those that reach no pool are sampled
        as those of one without a policy."""
        if self._fleet is not self.core.fleet:
            self._fleet = self.core.fleet
            pools = self._fleet.pools
            self._shares = {p.name: p.policy.observability.decision_log_share for p in pools}
        pool = outcome.decision.pool if outcome.decision else ""
        return is_sampled(outcome.request_id, self._shares.get(pool, _NO_POOLS_SHARE))

    def _tell(self, call: Call) -> None:
        self._add({"unix_s": time(), **call.fields()})

    async def run(self) -> None:
        """Write what has come together, until cancelled; then the rest."""
        try:
            while True:
                await asyncio.sleep(WRITE_EVERY_S)
                if self._pending:
                    await asyncio.to_thread(self._write, self._take())
        finally:
            self._write(self._take())

    def _add(self, fields: Mapping[str, object]) -> None:
        line = orjson.dumps(
            {"version": VERSION, **fields},
            default=sorted,  # The one type that JSON lacks: sets of endpoints.
            option=orjson.OPT_APPEND_NEWLINE,
        )
        if self._pending_bytes + len(line) > MAX_PENDING_BYTES:
            self._metrics.log_lines.labels(LogLineOutcome.LOST).add()
            return
        self._pending.append(line)
        self._pending_bytes += len(line)

    def _take(self) -> list[bytes]:
        lines, self._pending, self._pending_bytes = self._pending, [], 0
        return lines

    def _write(self, lines: list[bytes]) -> None:
        """Whole lines, so that several processes may share a file."""
        data = memoryview(b"".join(lines))
        outcome = LogLineOutcome.WRITTEN
        try:
            with self._writing:
                while data:
                    data = data[os.write(self._file, data) :]
            self._is_failing = False
        except OSError as error:
            outcome = LogLineOutcome.LOST
            if not self._is_failing:
                log.error("decision_log.failed", extra={"error": str(error)})  # noqa: TRY400
            self._is_failing = True
        self._metrics.log_lines.labels(outcome).add(len(lines))


def decision_log_for(settings: Settings, metrics: Metrics) -> DecisionLog | None:
    """None: there is to be none.  Raises: CannotWrite."""
    if settings.decision_log is None:
        return None
    is_complete = settings.decision_log_complete
    return DecisionLog(settings.decision_log, is_complete=is_complete, metrics=metrics)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    except OSError as error:
        raise CannotWrite(f"--decision-log: cannot write {path}: {error.strerror}") from None
