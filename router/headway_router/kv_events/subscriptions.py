"""Follows the caches of all endpoints whose policy asks for exact ones."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

import aiohttp
import zmq.asyncio

from headway_core.facts import EndpointId
from headway_core.policy import Fleet, PrefixAffinity
from headway_router.kv_events.join import CacheEvent
from headway_router.kv_events.outcomes import CacheKnowledge
from headway_router.kv_events.prompts import Prompts
from headway_router.kv_events.stream import EventStream
from headway_router.kv_events.subscription import Subscription
from headway_router.metrics import Metrics

TIMEOUT_S = 5.0
"""For an engine's answer to where it publishes."""


class Subscriptions:
    """``observe`` gets what the engines' events say of our blocks."""

    def __init__(
        self, *, prompts: Prompts, observe: Callable[[CacheEvent], None], metrics: Metrics
    ) -> None:
        self._prompts = prompts
        self._observe = observe
        self._metrics = metrics
        self._pools: Mapping[str, frozenset[EndpointId]] = {}
        self._followed: dict[EndpointId, Subscription] = {}
        self._changed = asyncio.Event()

    def watch(self, fleet: Fleet) -> None:
        """Follow the endpoints of this fleet from here on, and no others."""
        self._pools = {
            pool.name: frozenset(e.endpoint_id for e in pool.endpoints)
            for pool in fleet.pools
            if pool.policy.prefix_affinity is PrefixAffinity.PRECISE
        }
        self._changed.set()

    def readings(self) -> Mapping[tuple[str, CacheKnowledge], int]:
        """Endpoints, by pool and by what is known of their caches."""
        counts: Counter[tuple[str, CacheKnowledge]] = Counter()
        for pool, endpoints in self._pools.items():
            counts.update({(pool, knowledge): 0 for knowledge in CacheKnowledge})
            for endpoint_id in endpoints:
                followed = self._followed.get(endpoint_id)
                counts[pool, followed.knowledge if followed else CacheKnowledge.UNAVAILABLE] += 1
        return counts

    def debug(self) -> Mapping[EndpointId, Mapping[str, object]]:
        return {endpoint_id: one.debug() for endpoint_id, one in self._followed.items()}

    async def run(self) -> None:
        """Follow them until cancelled."""
        context = zmq.asyncio.Context()
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as http,
                asyncio.TaskGroup() as group,
            ):
                await self._follow(context, http, group)
        finally:
            self._followed.clear()
            context.destroy(linger=0)

    async def _follow(
        self, context: zmq.asyncio.Context, http: aiohttp.ClientSession, group: asyncio.TaskGroup
    ) -> None:
        tasks: dict[EndpointId, asyncio.Task[None]] = {}
        while True:
            self._changed.clear()
            wanted = frozenset[EndpointId]().union(*self._pools.values())
            for endpoint_id in tasks.keys() - wanted:
                tasks.pop(endpoint_id).cancel()
                del self._followed[endpoint_id]
            for endpoint_id in sorted(wanted - tasks.keys()):
                stream = EventStream(endpoint_id, self._prompts, self._observe, self._metrics)
                one = Subscription(endpoint_id, stream, context, http)
                self._followed[endpoint_id] = one
                tasks[endpoint_id] = group.create_task(one.run())
            await self._changed.wait()
