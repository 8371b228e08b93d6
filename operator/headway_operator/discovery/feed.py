"""Fills the store: lists of everything now and then, and the pods of External groups.

Between the lists kopf's watches tell what changes; a list finds what they have missed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from headway_operator.discovery.store import Kind, Store
from headway_operator.errors import ClusterUnavailable
from headway_operator.names import Manifest

log = logging.getLogger("headway_operator")

LIST_S = 60.0
RETRY_S = 2.0
OTHERS_S = 1.0
"""Pods of others are not watched: any pod of the namespace could be one."""


class Source(Protocol):
    """All raise ClusterUnavailable."""

    async def every(self, kind: Kind, namespace: str | None) -> list[Manifest]:
        """All objects that routers are told of."""

    async def pods(self, namespace: str, labels: dict[str, str]) -> list[Manifest]:
        """Pods that have all of the labels."""


class Feed:
    """``namespace`` None: all of them."""

    def __init__(self, source: Source, store: Store, namespace: str | None) -> None:
        self._source = source
        self._store = store
        self._namespace = namespace

    async def run(self) -> None:
        """Until cancelled."""
        await _until_done(self._list)
        await _until_done(self._find_others)
        self._store.open()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_again_and_again(self._list, LIST_S))
            tasks.create_task(_again_and_again(self._find_others, OTHERS_S))

    async def _list(self) -> None:
        for kind in Kind:
            self._store.listing(kind)
            self._store.listed(kind, await self._source.every(kind, self._namespace))

    async def _find_others(self) -> None:
        for pool in self._store.of(Kind.POOL):
            metadata = pool["metadata"]
            for group in pool.get("spec", {}).get("groups", ()):
                if selector := group.get("selector"):
                    found = await self._source.pods(metadata["namespace"], selector)
                    self._store.found(metadata["uid"], group["name"], found)


async def _until_done(look: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            return await look()
        except ClusterUnavailable as error:
            log.warning("discovery.not_listed", extra={"why": str(error)})
            await asyncio.sleep(RETRY_S)


async def _again_and_again(look: Callable[[], Awaitable[None]], every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await look()
        except ClusterUnavailable as error:
            log.warning("discovery.not_listed", extra={"why": str(error)})
