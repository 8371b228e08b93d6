"""Keeps the fleet equal to a folder of documents; what does not compile changes nothing.

The folder is read every few seconds and compared by content, which sees every way to change it:
an edit in place, a new file moved over an old one, the swapped links of a mounted ConfigMap.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import headway_api
from headway_api import InvalidDocuments, Problem
from headway_core.policy import Fleet
from headway_router.config_folder import Contents, scan
from headway_router.metric_labels import ReloadOutcome
from headway_router.metrics import Metrics

log = logging.getLogger(__name__)

POLL_S = 2.0
SETTLE_S = 0.25
"""A change counts once the folder has held still this long: half a file may be valid YAML."""
READ_TIMEOUT_S = 20.0
"""For one look at the folder.  10,000 endpoints take about 1 s to read and compile."""
MAX_LOGGED_PROBLEMS = 50


class FolderSource:
    """One folder, the fleet it last described without problems, and the problems it has now.

    ``on_fleet`` is called in the event loop with each fleet that differs from the one before.
    """

    def __init__(
        self,
        folder: Path,
        *,
        on_fleet: Callable[[Fleet], None],
        metrics: Metrics,
        poll_s: float = POLL_S,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._folder = folder
        self._on_fleet = on_fleet
        self._metrics = metrics
        self._poll_s = poll_s
        self._settle_s = settle_s
        self._fleet: Fleet | None = None
        self._seen = ""
        self._applied = ""
        self._problems: tuple[Problem, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Of the last content read.  Not empty: an older one is in force."""
        return self._problems

    def debug(self) -> dict[str, object]:
        """For a debug page: JSON's types only."""
        return {
            "folder": str(self._folder),
            "applied": self._applied,
            "seen": self._seen,
            "problems": [str(problem) for problem in self._problems],
        }

    def readings(self) -> None:
        """None: there is no snapshot of an operator."""

    def identify(self, port: int) -> None:
        """Nobody asks who this is."""

    async def leave(self) -> None:
        """Nobody waits for it."""

    def load(self) -> Fleet:
        """Read the folder once, before the event loop serves anything; ``on_fleet`` is called.

        Raises:
            InvalidDocuments: there is no last good configuration to keep.
        """
        contents = scan(self._folder)
        fleet = _compile(contents)
        self._seen = contents.digest
        self._metrics.reloaded(self._accept(contents, fleet))
        return fleet

    async def run(self) -> None:
        """Look at the folder every ``poll_s`` until cancelled."""
        while True:
            await asyncio.sleep(self._poll_s)
            await self.poll()

    async def poll(self) -> ReloadOutcome:
        """Look at the folder once."""
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                outcome = await self._reload()
        except TimeoutError:
            self._seen = ""
            late = f"cannot be read: it takes longer than {READ_TIMEOUT_S:g} s"
            outcome = self._reject((Problem(file=str(self._folder), problem=late),))
        self._metrics.reloaded(outcome)
        return outcome

    async def _reload(self) -> ReloadOutcome:
        contents = await asyncio.to_thread(scan, self._folder)
        if contents.digest == self._seen:
            return ReloadOutcome.UNCHANGED
        await asyncio.sleep(self._settle_s)
        if (await asyncio.to_thread(scan, self._folder)).digest != contents.digest:
            return ReloadOutcome.UNSETTLED
        self._seen = contents.digest
        try:
            fleet = await asyncio.to_thread(_compile, contents)
        except InvalidDocuments as error:
            return self._reject(error.problems)
        return self._accept(contents, fleet)

    def _accept(self, contents: Contents, fleet: Fleet) -> ReloadOutcome:
        changed = fleet != self._fleet
        self._fleet, self._applied, self._problems = fleet, contents.digest, ()
        if changed:
            self._on_fleet(fleet)
        endpoints = sum(len(pool.endpoints) for pool in fleet.pools)
        log.info(
            "config.applied",
            extra={
                "pools": len(fleet.pools),
                "endpoints": endpoints,
                "changed": changed,
                "digest": contents.digest,
            },
        )
        return ReloadOutcome.APPLIED if changed else ReloadOutcome.UNCHANGED

    def _reject(self, problems: tuple[Problem, ...]) -> ReloadOutcome:
        self._problems = problems
        for problem in problems[:MAX_LOGGED_PROBLEMS]:
            log.error("config.problem", extra=asdict(problem))
        log.error("config.rejected", extra={"problems": len(problems), "kept": self._applied})
        return ReloadOutcome.REJECTED


def _compile(contents: Contents) -> Fleet:
    return headway_api.compile(contents.documents())
