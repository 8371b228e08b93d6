"""Which replica leads: the holder of a Lease, for as long as it renews it in time.

A candidate takes the lease when nobody holds it, or when it has not changed for ``LEASE_S`` of the
candidate's own clock; clocks of different machines are never compared.  A holder that could not
renew for ``RENEW_S`` stops leading by itself, before any other may begin.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from headway_operator.errors import ClusterUnavailable

log = logging.getLogger("headway_operator")

LEASE_S = 15
RENEW_S = 10.0
RETRY_S = 2.0
JITTER = 0.2
"""Of the retry, so that replicas do not meet at the API server again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    holder: str
    """Empty: nobody."""
    transitions: int = 0
    version: str | None = None
    """Of the object that was read.  None: there is none yet."""


class LeaseTaken(Exception):
    """Somebody else wrote the lease in between."""


class Leases(Protocol):
    async def lease(self, namespace: str, name: str) -> LeaseRecord | None:
        """None: there is none yet.  Raises: ClusterUnavailable."""

    async def put_lease(
        self, namespace: str, name: str, record: LeaseRecord, *, duration_s: int, now: float
    ) -> str:
        """The new version.  Raises: LeaseTaken, ClusterUnavailable."""


class Tenure:
    """Whether this replica may write, by its monotonic clock, which runs while it is stopped."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until_s = float("-inf")

    def may_write(self) -> bool:
        return self._clock() < self._until_s

    def renewed_at(self, asked_s: float) -> None:
        """``asked_s``: before the request was sent."""
        self._until_s = asked_s + RENEW_S

    def end(self) -> None:
        self._until_s = float("-inf")


class Elector:
    """Runs ``work`` whenever this replica leads, and cancels it when it does no more."""

    def __init__(
        self,
        leases: Leases,
        namespace: str,
        name: str,
        identity: str,
        *,
        tenure: Tenure,
        clock: Callable[[], float],
        now: Callable[[], float],
        rng: Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._leases = leases
        self._place = (namespace, name)
        self._identity = identity
        self._tenure = tenure
        self._clock = clock
        self._now = now
        self._rng = rng
        self._sleep = sleep
        self._seen: tuple[LeaseRecord | None, float] = (None, float("-inf"))
        self._held: LeaseRecord | None = None

    async def run(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Until cancelled; then the lease is given back."""
        while True:
            while self._held is None:
                if not await self._acquire():
                    await self._pause()
            log.info("leader.elected", extra={"identity": self._identity})
            try:
                async with asyncio.TaskGroup() as tasks:
                    worker = tasks.create_task(work())
                    await self._renew_until_deposed()
                    worker.cancel()
            finally:
                self._tenure.end()
                log.info("leader.ended", extra={"identity": self._identity})
                await self._release()

    async def _acquire(self) -> bool:
        """Whether the lease is this replica's now."""
        asked_s = self._clock()
        try:
            found = await self._leases.lease(*self._place)
            if found is None:
                return await self._put(LeaseRecord(holder=self._identity), asked_s)
            if found != self._seen[0]:
                self._note(found)
                self._seen = (found, asked_s)
            is_over = asked_s - self._seen[1] > LEASE_S
            if found.holder in ("", self._identity) or is_over:
                mine = replace(found, holder=self._identity, transitions=found.transitions + 1)
                return await self._put(mine, asked_s)
        except LeaseTaken:
            log.info("leader.not_elected", extra={"why": "another was faster"})
        except ClusterUnavailable as error:
            log.warning("leader.not_elected", extra={"why": str(error)})
        return False

    def _note(self, found: LeaseRecord) -> None:
        last = self._seen[0]
        if found.holder not in ("", self._identity, last.holder if last else ""):
            log.info("leader.follows", extra={"leader": found.holder})

    async def _renew_until_deposed(self) -> None:
        while self._held is not None and self._tenure.may_write():
            await self._pause()
            try:
                await self._put(self._held, self._clock())
            except LeaseTaken:
                self._held = None
            except ClusterUnavailable as error:
                log.warning("leader.not_renewed", extra={"why": str(error)})

    async def _put(self, record: LeaseRecord, asked_s: float) -> bool:
        version = await self._leases.put_lease(
            *self._place, record, duration_s=LEASE_S, now=self._now()
        )
        self._held = replace(record, version=version)
        self._tenure.renewed_at(asked_s)
        return True

    async def _release(self) -> None:
        """So that another can begin at once.  The lease runs out by itself if this fails."""
        held, self._held = self._held, None
        if held is not None:
            with suppress(LeaseTaken, ClusterUnavailable):
                await self._leases.put_lease(
                    *self._place, replace(held, holder=""), duration_s=LEASE_S, now=self._now()
                )

    async def _pause(self) -> None:
        await self._sleep(RETRY_S * (1 + JITTER * self._rng.random()))
