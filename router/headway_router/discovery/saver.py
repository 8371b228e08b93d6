"""Writes the snapshot in force to disk, the latest one only, without holding anybody up."""

import asyncio
import logging
from pathlib import Path

from headway_api.snapshots import Snapshot
from headway_router.discovery import disk

log = logging.getLogger(__name__)


class Saver:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._latest: Snapshot | None = None
        self._changed = asyncio.Event()

    def save(self, snapshot: Snapshot) -> None:
        """Soon."""
        self._latest = snapshot
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._latest is None:
                continue
            try:
                await asyncio.to_thread(disk.save, self._latest, self._folder)
            except OSError as error:
                log.warning("snapshot.not_saved", extra={"why": str(error)})
