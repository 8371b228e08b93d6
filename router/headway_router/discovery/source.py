"""Keeps the fleet equal to what an operator says; without one, to what it said last."""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from random import Random
from time import monotonic
from uuid import uuid4

from headway_api.snapshots import SCHEMA
from headway_core.facts import EndpointId
from headway_core.policy import Fleet
from headway_proto.v1alpha1 import discovery_pb2 as pb
from headway_proto.v1alpha1.messages import Undecodable, decoded
from headway_router.discovery import disk
from headway_router.discovery.channels import Channels
from headway_router.discovery.client import Client
from headway_router.discovery.fail_open import FailOpen
from headway_router.discovery.keeper import Keeper, Taken
from headway_router.discovery.saver import Saver
from headway_router.metric_labels import ResourceKind, SnapshotOrigin
from headway_router.metric_readings import SnapshotReadings

log = logging.getLogger(__name__)

OPERATOR_FIRST_S = 2.0
"""How long a new router waits for an operator before it starts from disk."""
STALE_S = 10.0
"""A replica that lags behind for so long is left for another."""


class DiscoverySource:
    """``on_fleet`` gets each fleet that differs from the one before; ``on_cold_fleet`` one from
    disk instead, whose endpoints may be gone.  ``traffic`` fills in what the router has seen."""

    def __init__(
        self,
        channels: Channels,
        state: Path | None,
        *,
        on_fleet: Callable[[Fleet], None],
        on_cold_fleet: Callable[[Fleet], None],
        answers: Callable[[EndpointId], bool],
        traffic: Callable[[pb.ReportRequest, Mapping[str, str], Mapping[EndpointId, str]], None],
        rng: Random,
        clock: Callable[[], float] = monotonic,
        operator_first_s: float = OPERATOR_FIRST_S,
        report_s: float = 5.0,
    ) -> None:
        self._state = state
        self._on_fleet = on_fleet
        self._on_cold_fleet = on_cold_fleet
        self._traffic = traffic
        self._clock = clock
        self._operator_first_s = operator_first_s
        self._keeper = Keeper()
        self._fail_open = FailOpen(answers)
        self._taken: Taken | None = None
        self._fleet: Fleet | None = None
        self._held_hash = ""
        self._ack: pb.Ack | None = None
        self._stale_since: float | None = None
        self._saver = None if state is None else Saver(state)
        self._first = asyncio.Event()
        self._taken_s: float | None = None
        self._origin = SnapshotOrigin.NONE
        self._corrupt_files = 0
        host = socket.gethostname()
        self._router = pb.Router(
            id=host,
            name=host,
            version=version("headway"),
            max_schema=SCHEMA,
            incarnation=uuid4().hex,
        )
        self.client = Client(
            channels,
            subscription=self._subscription,
            take=self.take,
            report=self.report,
            rng=rng,
            report_s=report_s,
        )

    @property
    def _generations(self) -> dict[tuple[str, str], int]:
        """In force, by kind and key."""
        if self._taken is None:
            return {}
        effective = self._taken.effective
        kinds = zip(ResourceKind, (effective.pools, effective.policies), strict=True)
        return {(kind, item.key): item.generation for kind, items in kinds for item in items}

    @property
    def problems(self) -> tuple[str, ...]:
        """Of items whose newest generation is not in force."""
        results = () if self._taken is None else self._taken.results
        return tuple(result.message for result in results if result.message)

    def readings(self) -> SnapshotReadings:
        return SnapshotReadings(
            origin=self._origin,
            age_s=None if self._taken_s is None else self._clock() - self._taken_s,
            generations=self._generations,
            rejected=len(self.problems),
            corrupt_files=self._corrupt_files,
            kept_endpoints=self._fail_open.kept,
        )

    def identify(self, port: int) -> None:
        """Of several routers on one host, the port tells this one from the others."""
        self._router.id = f"{self._router.name}:{port}"

    async def leave(self) -> None:
        """Nobody should wait for this router any more."""
        await self.client.leave()

    def load(self) -> None:
        """The operator has its chance first."""

    def debug(self) -> dict[str, object]:
        """For a debug page: JSON's types only."""
        return {
            "operator": self.client.connected,
            "source": self._origin,
            "held": self._held_hash,
            "generations": {" ".join(key): n for key, n in self._generations.items()},
            "problems": list(self.problems),
            "kept_endpoints": dict(self._fail_open.kept),
        }

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.client.run())
            tasks.create_task(self._start_from_disk())
            if self._saver is not None:
                tasks.create_task(self._saver.run())
            tasks.create_task(self._let_go())

    def take(self, message: pb.Snapshot) -> None:
        """All of a snapshot, or nothing."""
        ack = pb.Ack(
            server_id=message.server_id,
            sequence=message.sequence,
            content_hash=message.content_hash,
            verdict=pb.Ack.ACK,
        )
        self._ack = ack
        try:
            snapshot = decoded(message)
        except Undecodable as error:
            ack.verdict, ack.reason, ack.message = pb.Ack.NACK, error.reason, str(error)
            log.warning("snapshot.refused", extra={"reason": error.reason, "why": str(error)})
            return
        taken = self._keeper.take(snapshot, message.server_id, self._clock())
        self._held_hash = snapshot.content_hash
        self._apply(taken, SnapshotOrigin.STREAM)
        if self._saver is not None:
            self._saver.save(taken.effective)
        self._note_staleness(taken, ack)

    def report(self) -> pb.ReportRequest:
        request = pb.ReportRequest(router=self._router, ack=self._ack)
        if self._taken is not None:
            for result in self._taken.results:
                request.results.add(
                    uid=result.uid,
                    generation=result.generation,
                    hash=result.hash,
                    state=pb.Result.REJECTED if result.message else pb.Result.APPLIED,
                    reason="Invalid" if result.message else "",
                    message=result.message,
                )
            pools = {item.key: item.uid for item in self._taken.effective.pools}
            self._traffic(request, pools, self._taken.endpoint_uids)
        return request

    def _subscription(self) -> pb.SubscribeRequest:
        return pb.SubscribeRequest(router=self._router, held_hash=self._held_hash)

    def _apply(self, taken: Taken, origin: SnapshotOrigin) -> None:
        self._taken, self._taken_s, self._origin = taken, self._clock(), origin
        for result in taken.results:
            if result.message:
                log.error("snapshot.item_refused", extra={"why": result.message})
        fleet = self._fail_open.fleet(taken.fleet, self._clock())
        log.info(
            "snapshot.applied",
            extra={
                "origin": origin,
                "pools": len(fleet.pools),
                "endpoints": sum(len(pool.endpoints) for pool in fleet.pools),
                "changed": fleet != self._fleet,
            },
        )
        self._hand_out(fleet, cold=origin is SnapshotOrigin.DISK)
        self._first.set()

    def _hand_out(self, fleet: Fleet, *, cold: bool = False) -> None:
        if fleet != self._fleet:
            self._fleet = fleet
            (self._on_cold_fleet if cold else self._on_fleet)(fleet)

    def _note_staleness(self, taken: Taken, ack: pb.Ack) -> None:
        if not taken.is_stale:
            self._stale_since = None
            return
        ack.reason, ack.message = "StaleServer", "it lags behind what this router has"
        if self._stale_since is None:
            self._stale_since = self._clock()
        self._held_hash = ""  # not what is in force

    async def _let_go(self) -> None:
        """Looks again at endpoints that are kept although nobody tells of them."""
        while True:
            await asyncio.sleep(1.0)
            due_s = self._fail_open.due_s()
            if self._taken is not None and due_s is not None:
                self._hand_out(self._fail_open.fleet(self._taken.fleet, self._clock()))
            if self._stale_since is not None and self._clock() - self._stale_since > STALE_S:
                self._stale_since = None
                self.client.leave_replica()

    async def _start_from_disk(self) -> None:
        if self._state is None:
            return
        try:
            async with asyncio.timeout(self._operator_first_s):
                await self._first.wait()
        except TimeoutError:
            await self._load(self._state)

    async def _load(self, folder: Path) -> None:
        try:
            snapshot = await asyncio.to_thread(disk.load, folder)
        except disk.Corrupt as error:
            self._corrupt_files += 1
            log.warning("snapshot.corrupt", extra={"why": str(error)})
            return
        if snapshot is not None and not self._first.is_set():
            taken = self._keeper.take(snapshot, "disk", self._clock())
            self._held_hash = snapshot.content_hash
            self._apply(taken, SnapshotOrigin.DISK)
            self.client.changed()
