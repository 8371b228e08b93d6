"""This replica's snapshots: made when something has changed, handed to every stream."""

import asyncio
import logging
from collections.abc import Callable
from time import monotonic

from headway_operator.discovery.compiler import Compiler
from headway_operator.discovery.debounce import Debounce
from headway_operator.discovery.outcomes import Compiled
from headway_operator.discovery.store import Kind, Store
from headway_proto.v1alpha1 import discovery_pb2 as pb
from headway_proto.v1alpha1.messages import encoded

log = logging.getLogger("headway_operator")


class Publisher:
    """``published`` is called after each compilation, changed or not."""

    def __init__(self, server_id: str, published: Callable[[], None]) -> None:
        self.store = Store(self._store_changed)
        self.compiled: Compiled | None = None
        """None: not all objects are known yet."""
        self.message: pb.Snapshot | None = None
        self._server_id = server_id
        self._published = published
        self._compiler = Compiler()
        self._debounce = Debounce()
        self._wake = asyncio.Event()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            due_s = self._debounce.due_s()
            self._wake.clear()
            if due_s is not None and due_s <= monotonic() and self.store.is_synced:
                self._debounce.published(monotonic())
                self._publish()
                continue
            try:
                async with asyncio.timeout(None if due_s is None else due_s - monotonic()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def news(self) -> None:
        """Returns when there is another message."""
        await self._news.wait()

    def _store_changed(self, is_urgent: bool) -> None:
        self._debounce.changed(monotonic(), is_urgent=is_urgent)
        self._wake.set()

    def _publish(self) -> None:
        store = self.store
        self.compiled = compiled = self._compiler.compile(
            store.of(Kind.POOL),
            store.of(Kind.POLICY),
            store.of(Kind.POD),
            lambda pool_uid, group: store.others(pool_uid, group) or (),
        )
        if self.message is None or self.message.content_hash != compiled.snapshot.content_hash:
            sequence = 1 if self.message is None else self.message.sequence + 1
            self.message = encoded(compiled.snapshot, server_id=self._server_id, sequence=sequence)
            log.info(
                "snapshot.published",
                extra={
                    "sequence": sequence,
                    "content_hash": compiled.snapshot.content_hash,
                    "pools": len(compiled.snapshot.pools),
                    "policies": len(compiled.snapshot.policies),
                    "endpoints": len(compiled.snapshot.endpoints),
                },
            )
            self._news.set()
            self._news = asyncio.Event()
        self._published()
