"""A publisher as vLLM's, over real sockets; what is lost is lost by the publisher, on purpose."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
import zmq
import zmq.asyncio
from aiohttp import web

from engine_contract.process import free_port
from headway_core.events import BlocksRemoved, BlocksStored, CacheCleared
from headway_core.facts import Endpoint, InferenceRequest
from headway_core.policy import Fleet, Policy, Pool, PrefixAffinity
from headway_router.kv_events import subscription
from headway_router.kv_events.join import CacheEvent
from headway_router.kv_events.outcomes import CacheKnowledge
from headway_router.kv_events.prompts import Prompts
from headway_router.kv_events.subscriptions import Subscriptions
from headway_router.metrics import Metrics
from headway_router.openai.ratios import TokenRatios

WAIT_S = 60.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETRY_S", "SETTLE_S", "RECHECK_S"):
        monkeypatch.setattr(subscription, name, 0.05)


class Publisher:
    """``is_bound``: it binds, as with a wildcard; else the subscriber must."""

    def __init__(self, *, is_bound: bool = True, replays: bool = True) -> None:
        self.port = free_port()
        self.endpoint = f"tcp://{'*' if is_bound else '127.0.0.1'}:{self.port}"
        self.replay_port = free_port() if replays else None
        self.is_publishing = True
        self.kept: list[bytes] = []
        self.endpoint_id = ""
        self._context = zmq.asyncio.Context()
        self._pub = self._context.socket(zmq.PUB)
        if is_bound:
            self._pub.bind(self.endpoint)
        else:
            self._pub.connect(self.endpoint)

    async def publish(self, *events: dict[str, object], is_lost: bool = False) -> None:
        payload = msgspec.msgpack.encode([0.0, events, 0])
        self.kept.append(payload)
        if not is_lost:
            number = (len(self.kept) - 1).to_bytes(8, "big")
            await self._pub.send_multipart([b"kv", number, payload])

    async def answer_replays(self) -> None:
        if self.replay_port is None:
            return
        router = self._context.socket(zmq.ROUTER)
        router.bind(f"tcp://127.0.0.1:{self.replay_port}")
        while True:
            client, _, first = await router.recv_multipart()
            for number in range(int.from_bytes(first, "big"), len(self.kept)):
                frames = [client, b"", b"kv", number.to_bytes(8, "big"), self.kept[number]]
                await router.send_multipart(frames)
            end = (-1).to_bytes(8, "big", signed=True)
            await router.send_multipart([client, b"", b"", end, b""])

    async def sources(self, _: web.Request) -> web.Response:
        if not self.is_publishing:
            return web.json_response({})
        replay = self.replay_port and f"tcp://127.0.0.1:{self.replay_port}"
        publisher = {
            "enable_kv_cache_events": True,
            "publisher": "zmq",
            "endpoint": self.endpoint,
            "replay_endpoint": replay,
            "topic": "kv",
        }
        return web.Response(text=json.dumps({"0": publisher}))

    def close(self) -> None:
        self._context.destroy(linger=0)


class Followed:
    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.metrics = Metrics()
        self.prompts = Prompts(TokenRatios())
        self.held: set[int] = set()
        self.caches = Subscriptions(
            prompts=self.prompts, observe=self._observe, metrics=self.metrics
        )

    def watch(self, affinity: PrefixAffinity = PrefixAffinity.PRECISE) -> None:
        endpoint = Endpoint(endpoint_id=self.publisher.endpoint_id, name="e")
        policy = Policy(prefix_affinity=affinity)
        pool = Pool(name="default/m", model="m", endpoints=(endpoint,), policy=policy)
        self.caches.watch(Fleet(pools=(pool,)))

    def sent(self, request_id: str, *blocks: int) -> None:
        request = InferenceRequest(
            request_id=request_id, requested_model="m", prompt_tokens=100, blocks=blocks
        )
        self.prompts.sent("m", request)

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def knows(self, knowledge: CacheKnowledge) -> Callable[[], bool]:
        return lambda: self.caches.readings().get(("default/m", knowledge)) == 1

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not holds():  # noqa: ASYNC110  sockets wake nobody here
                await asyncio.sleep(0.01)

    def _observe(self, event: CacheEvent) -> None:
        match event:
            case BlocksStored():
                self.held.update(event.blocks)
            case BlocksRemoved():
                self.held.difference_update(event.blocks)
            case CacheCleared():
                self.held.clear()


@asynccontextmanager
async def following(publisher: Publisher) -> AsyncIterator[Followed]:
    app = web.Application()
    app.router.add_get("/kv_event_sources", publisher.sources)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    publisher.endpoint_id = f"127.0.0.1:{runner.addresses[0][1]}"
    followed = Followed(publisher)
    followed.watch()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(publisher.answer_replays()),
                group.create_task(followed.caches.run()),
            ]
            try:
                await followed.until(followed.knows(CacheKnowledge.UNPROVEN))
                yield followed
            finally:
                for task in tasks:
                    task.cancel()
    finally:
        await runner.cleanup()
        publisher.close()


def stored(session: str, *blocks: int, parent: int | None = None) -> dict[str, object]:
    return {
        "type": "BlockStored",
        "block_hashes": blocks,
        "parent_block_hash": parent,
        "block_size": 256,
        "session_id": session,
    }


@pytest.mark.parametrize("is_bound", [True, False])
async def test_either_side_may_bind(is_bound: bool) -> None:
    async with following(Publisher(is_bound=is_bound)) as followed:
        followed.sent("r", 1, 2)
        await followed.publisher.publish(stored("r", 100, 101))
        await followed.until(lambda: followed.held == {1, 2})
        assert followed.knows(CacheKnowledge.EXACT)()


async def test_what_is_lost_is_replayed_the_last_batch_too() -> None:
    async with following(Publisher()) as followed:
        publisher = followed.publisher
        for number in range(20):
            followed.sent(f"r{number}", number)
            await publisher.publish(stored(f"r{number}", 100 + number), is_lost=number % 3 != 0)
        await publisher.publish({"type": "BlockRemoved", "block_hashes": [105]}, is_lost=True)
        await followed.until(lambda: followed.held == set(range(20)) - {5})
        assert followed.count("headway_kv_resets_total", reason="gap") == 0
        assert followed.count("headway_kv_batches_total", outcome="replayed") > 0


async def test_without_a_replay_socket_a_gap_is_a_loss() -> None:
    async with following(Publisher(replays=False)) as followed:
        publisher = followed.publisher
        followed.sent("r", 1)

        async def first_contact() -> None:
            """A new subscriber misses what is published before it is known."""
            while not followed.held:
                await publisher.publish(stored("r", 100))
                await asyncio.sleep(0.05)

        async with asyncio.timeout(WAIT_S):
            await first_contact()
        followed.sent("s", 5)
        await publisher.publish({"type": "AllBlocksCleared"}, is_lost=True)
        await publisher.publish(stored("s", 200))
        await followed.until(lambda: followed.held == {1, 5})
        assert followed.count("headway_kv_resets_total", reason="gap") == 1


async def test_a_restarted_engine_has_an_empty_cache() -> None:
    async with following(Publisher()) as followed:
        publisher = followed.publisher
        followed.sent("r", 1)
        followed.sent("s", 5)
        for _ in range(3):
            await publisher.publish(stored("r", 100))
        await followed.until(lambda: followed.held == {1})
        publisher.kept.clear()
        await publisher.publish(stored("s", 100))
        await followed.until(lambda: followed.held == {5})
        assert followed.count("headway_kv_resets_total", reason="restarted") == 1


async def test_an_engine_that_stops_publishing_is_asked_until_it_does_again() -> None:
    async with following(Publisher()) as followed:
        followed.publisher.is_publishing = False
        await followed.until(followed.knows(CacheKnowledge.UNAVAILABLE))
        reason = followed.caches.debug()[followed.publisher.endpoint_id]["unavailable"]
        assert reason == "it publishes no KV events"
        followed.publisher.is_publishing = True
        await followed.until(followed.knows(CacheKnowledge.UNPROVEN))


async def test_only_pools_that_ask_for_it_are_followed() -> None:
    async with following(Publisher()) as followed:
        followed.watch(PrefixAffinity.APPROXIMATE)
        await followed.until(lambda: not followed.caches.debug())
        assert followed.caches.readings() == {}
