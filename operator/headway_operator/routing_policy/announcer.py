"""The leader's loop that keeps statuses true about routers: once a second at most."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from headway_operator.discovery.outcomes import Compiled, Outcome
from headway_operator.discovery.reports import Reports
from headway_operator.errors import ClusterUnavailable, NotLeading
from headway_operator.model_pool.plan import PoolEvent
from headway_operator.names import ANNOUNCER, Manifest
from headway_operator.routing_policy.status import (
    own_part,
    policy_events,
    policy_status,
    pool_status,
)
from headway_operator.routing_policy.traffic import TrafficWindow

log = logging.getLogger("headway_operator")

QUIET_S = 1.0
LOOK_AGAIN_S = 5.0
"""A router that falls silent changes nothing that anybody would be told of."""


class Cluster(Protocol):
    """All raise ClusterUnavailable and NotLeading."""

    async def apply_status(self, body: Manifest, status: Manifest, manager: str) -> None:
        """Of the very object that was read, not of one that replaced it."""

    async def emit(self, body: Manifest, event: PoolEvent, now: float) -> None:
        """An Event about the object."""


class Announcer:
    """``now`` gives seconds since the epoch."""

    def __init__(
        self,
        cluster: Cluster,
        reports: Reports,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cluster = cluster
        self._reports = reports
        self._now = now
        self._sleep = sleep
        self._traffic = TrafficWindow()
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """A snapshot was compiled, or a router has reported."""
        self._changed.set()

    async def run(self, compiled: Callable[[], Compiled | None]) -> None:
        """Until cancelled."""
        while True:
            self._changed.clear()
            if (now := compiled()) is not None:
                await self.announce(now)
            await self._sleep(QUIET_S)
            try:
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def announce(self, compiled: Compiled) -> None:
        """Write every status that is not true any more."""
        now, reports = self._now(), self._reports.live()
        self._traffic.note(reports, now)
        for policy in compiled.policies:
            status = policy_status(policy, reports, now)
            if status != policy.body.get("status"):
                await self._write(policy, status, policy_events(policy, status))
        for pool in compiled.pools:
            if "observedGeneration" not in pool.body.get("status", {}):
                continue  # the pool's own loop is the first to say something
            traffic = self._traffic.of(pool.uid, now)
            status = pool_status(pool, compiled, reports, traffic, now)
            if status != own_part(pool.body):
                await self._write(pool, status, [])
        log.debug("status.looked", extra={"routers": len(reports)})

    async def _write(self, outcome: Outcome, status: Manifest, events: list[PoolEvent]) -> None:
        try:
            await self._cluster.apply_status(outcome.body, status, ANNOUNCER)
        except (ClusterUnavailable, NotLeading) as error:
            log.warning("status.not_written", extra={"object": outcome.key, "why": str(error)})
            self._changed.set()
            return
        for event in events:
            extra = {"object": outcome.key, "reason": event.reason, "note": event.note}
            log.info("policy.event", extra=extra)
            await self._cluster.emit(outcome.body, event, self._now())
