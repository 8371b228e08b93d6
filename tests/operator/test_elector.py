"""Who leads, in virtual time."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import pytest

from headway_operator.elector import (
    LEASE_S,
    RENEW_S,
    Elector,
    LeaseRecord,
    LeaseTaken,
    Tenure,
)
from headway_operator.errors import ClusterUnavailable

SETTLE = 20
"""Turns of the event loop in which all that can go on does."""


class VirtualTime:
    def __init__(self) -> None:
        self.now_s = 1000.0
        self._due: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def clock(self) -> float:
        return self.now_s

    async def sleep(self, delay_s: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._due, (self.now_s + delay_s, next(self._numbers), future))
        await future

    async def pass_s(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        await self._settle()
        while self._due and self._due[0][0] <= end_s:
            self.now_s, _, future = heapq.heappop(self._due)
            if not future.done():
                future.set_result(None)
            await self._settle()
        self.now_s = end_s

    @staticmethod
    async def _settle() -> None:
        for _ in range(SETTLE):
            await asyncio.sleep(0)


class OneLease:
    """The API server's lease; an identity in ``cut_off`` cannot reach it."""

    def __init__(self) -> None:
        self.record: LeaseRecord | None = None
        self.cut_off: set[str] = set()
        self._versions = itertools.count(1)

    def seen_by(self, identity: str) -> "SeenLease":
        return SeenLease(self, identity)

    def put(self, record: LeaseRecord) -> str:
        version = None if self.record is None else self.record.version
        if record.version != version:
            raise LeaseTaken
        self.record = replace(record, version=str(next(self._versions)))
        return str(self.record.version)


class SeenLease:
    def __init__(self, lease: OneLease, identity: str) -> None:
        self._lease = lease
        self._identity = identity

    def _reach(self) -> None:
        if self._identity in self._lease.cut_off:
            raise ClusterUnavailable("no route")

    async def lease(self, namespace: str, name: str) -> LeaseRecord | None:
        self._reach()
        return self._lease.record

    async def put_lease(
        self, namespace: str, name: str, record: LeaseRecord, *, duration_s: int, now: float
    ) -> str:
        self._reach()
        return self._lease.put(record)


class Replica:
    def __init__(self, identity: str, lease: OneLease, time: VirtualTime) -> None:
        self.tenure = Tenure(time.clock)
        self.is_working = False
        self._elector = Elector(
            lease.seen_by(identity),
            "default",
            "operator",
            identity,
            tenure=self.tenure,
            clock=time.clock,
            now=time.clock,
            rng=Random(identity),
            sleep=time.sleep,
        )

    async def _work(self) -> None:
        self.is_working = True
        try:
            await asyncio.Event().wait()
        finally:
            self.is_working = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            election = tasks.create_task(self._elector.run(self._work))
            yield
            election.cancel()


@pytest.fixture
def time() -> VirtualTime:
    return VirtualTime()


@pytest.fixture
def lease() -> OneLease:
    return OneLease()


async def test_the_first_leads_and_the_second_waits(time: VirtualTime, lease: OneLease) -> None:
    first, second = (Replica(name, lease, time) for name in ("first", "second"))
    async with first.running():
        await time.pass_s(1)
        async with second.running():
            await time.pass_s(10 * LEASE_S)
            assert first.is_working and first.tenure.may_write()
            assert not second.is_working and not second.tenure.may_write()


async def test_a_lease_that_is_given_back_is_taken_at_once(
    time: VirtualTime, lease: OneLease
) -> None:
    first, second = (Replica(name, lease, time) for name in ("first", "second"))
    async with first.running():
        await time.pass_s(1)
    assert not first.is_working and not first.tenure.may_write()
    assert lease.record is not None and lease.record.holder == ""
    async with second.running():
        await time.pass_s(0.1)
        assert second.is_working


async def test_a_lease_of_somebody_silent_is_taken_when_it_is_over_and_not_before(
    time: VirtualTime, lease: OneLease
) -> None:
    lease.put(LeaseRecord(holder="gone"))
    replica = Replica("heir", lease, time)
    async with replica.running():
        await time.pass_s(LEASE_S)
        assert not replica.is_working
        await time.pass_s(5)
        assert replica.is_working


async def test_a_leader_that_cannot_renew_stops_before_another_may_begin(
    time: VirtualTime, lease: OneLease
) -> None:
    replica = Replica("first", lease, time)
    async with replica.running():
        await time.pass_s(1)
        lease.cut_off.add("first")
        await time.pass_s(RENEW_S + 3)
        assert RENEW_S + 3 < LEASE_S
        assert not replica.is_working and not replica.tenure.may_write()
        lease.cut_off.clear()
        await time.pass_s(5)
        assert replica.is_working


@pytest.mark.parametrize("seed", range(20))
async def test_no_two_may_write_at_once_whatever_is_cut_off(
    time: VirtualTime, lease: OneLease, seed: int
) -> None:
    rng = Random(seed)
    replicas = {name: Replica(name, lease, time) for name in ("a", "b", "c")}
    led = set()
    async with replicas["a"].running(), replicas["b"].running(), replicas["c"].running():
        for _ in range(300):
            lease.cut_off = {name for name in lease.cut_off if rng.random() < 0.97}
            lease.cut_off |= {name for name in replicas if rng.random() < 0.03}
            await time.pass_s(rng.uniform(0, 2))
            writing = [name for name, r in replicas.items() if r.tenure.may_write()]
            assert len(writing) <= 1
            led |= set(writing)
    assert len(led) > 1, "the outages never moved the lease"
