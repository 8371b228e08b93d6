"""The router's side of discovery: one subscription, and reports to every replica."""

import asyncio
import logging
from collections.abc import Callable
from random import Random

import grpc

from headway_proto.v1alpha1 import discovery_pb2 as pb
from headway_router.discovery.backoff import Backoff
from headway_router.discovery.channels import LOOK_AGAIN_S, Channels, Way

log = logging.getLogger(__name__)

REPORT_S = 5.0
REPORT_TIMEOUT_S = 3.0
REPORT_QUIET_S = 0.2
"""Between two reports, however much changes."""


class Client:
    """``take`` gets every snapshot, ``report`` says what to report now.

    ``subscription`` is what a new stream begins with.
    """

    def __init__(
        self,
        channels: Channels,
        *,
        subscription: Callable[[], pb.SubscribeRequest],
        take: Callable[[pb.Snapshot], None],
        report: Callable[[], pb.ReportRequest],
        rng: Random,
        report_s: float = REPORT_S,
    ) -> None:
        self._channels = channels
        self._subscription = subscription
        self._take = take
        self._report = report
        self._backoff = Backoff(rng)
        self._rng = rng
        self._report_s = report_s
        self._changed = asyncio.Event()
        self._call: grpc.aio.UnaryStreamCall | None = None
        self.connected = ""
        """Address of the replica that this router is subscribed to; empty: none."""

    def changed(self) -> None:
        """There is something that an operator waits for: report soon."""
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await self._channels.look()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._look())
                tasks.create_task(self._subscribe())
                tasks.create_task(self._report_always())
        finally:
            self.connected = ""
            await self._channels.close()

    def leave_replica(self) -> None:
        """Ask another one from here on."""
        if self._call is not None:
            self._call.cancel()

    async def leave(self) -> None:
        """Say that nobody should wait for this router any more."""
        request = self._report()
        request.leaving = True
        await self._send(request, timeout_s=1.0)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AGAIN_S)
            await self._channels.look()

    async def _subscribe(self) -> None:
        turn = self._rng.randrange(1 << 16)
        while True:
            ways = self._channels.ways()
            if not ways:
                await self._channels.look()
                ways = self._channels.ways()
            if ways:
                await self._follow(ways[turn % len(ways)])
                turn += 1
            await asyncio.sleep(self._backoff.next_s())

    async def _follow(self, way: Way) -> None:
        """Returns when the stream ends, for whatever reason."""
        self._call = call = way.stub.Subscribe(self._subscription())
        try:
            await call.wait_for_connection()
            self.connected = way.address
            log.info("discovery.subscribed", extra={"operator": way.address})
            self._changed.set()
            async for snapshot in call:
                self._backoff.worked()
                self._take(snapshot)
                self._changed.set()
            log.info("discovery.ended", extra={"operator": way.address})
        except grpc.aio.AioRpcError as error:
            extra = {"operator": way.address, "code": error.code().name, "why": error.details()}
            log.warning("discovery.lost", extra=extra)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Its channel was closed, or this replica was left.
            log.info("discovery.ended", extra={"operator": way.address})
        finally:
            self.connected = ""
            call.cancel()

    async def _report_always(self) -> None:
        while True:
            await self._send(self._report(), timeout_s=REPORT_TIMEOUT_S)
            await asyncio.sleep(min(REPORT_QUIET_S, self._report_s))
            try:
                async with asyncio.timeout(self._report_s):
                    await self._changed.wait()
            except TimeoutError:
                continue
            finally:
                self._changed.clear()

    async def _send(self, request: pb.ReportRequest, *, timeout_s: float) -> None:
        async with asyncio.TaskGroup() as tasks:
            for way in self._channels.ways():
                tasks.create_task(_reported(way, request, timeout_s))


async def _reported(way: Way, request: pb.ReportRequest, timeout_s: float) -> None:
    try:
        await way.stub.Report(request, timeout=timeout_s)
    except grpc.aio.AioRpcError as error:
        log.debug("discovery.not_reported", extra={"operator": way.address, "why": error.details()})
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
