"""The router follows an engine's cache: its events join requests that the router has sent."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest

from engine_contract import servers
from engine_contract.client import CHAT, POLL_S, Client
from headway_core.events import BlocksRemoved, BlocksStored, CacheCleared, Finished, FirstToken
from headway_core.facts import Endpoint, InferenceRequest
from headway_core.outcomes import Placed
from headway_core.policy import Fleet, Policy, Pool, PrefixAffinity
from headway_core.router import Router
from headway_router.dispatch import Dispatcher
from headway_router.kv_events.join import CacheEvent
from headway_router.kv_events.outcomes import CacheKnowledge
from headway_router.kv_events.prompts import LEARN_AFTER_S, Prompts
from headway_router.kv_events.subscriptions import Subscriptions
from headway_router.metrics import Metrics
from headway_router.openai.head import Head
from headway_router.openai.intake import Intake
from headway_router.openai.ratios import START_TOKENS_PER_BYTE, TokenRatios
from headway_router.openai.shapes import Shape

WAIT_S = 120.0
POOL = "default/tiny"
WORDS = ("the", "house", "of", "world", "and", "people", "other", "system", "small", "again")

FreshPrompt = Callable[[int], list[int]]


def a_text(about: str, words: int = 1200) -> str:
    rng = Random(about)
    return " ".join([about, *(rng.choices(WORDS, k=words))])


class Routed:
    """A router's parts around one engine, whose requests go straight to it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.events: list[CacheEvent] = []
        self.ratios = TokenRatios()
        self._endpoint_id = client.url.removeprefix("http://")
        metrics, prompts = Metrics(), Prompts(self.ratios)
        self._dispatcher = Dispatcher(
            Router(Random(1)), metrics, asyncio.get_running_loop().time, prompts
        )
        self._intake = Intake(lambda: self._dispatcher.catalogue, self.ratios, metrics)
        self.caches = Subscriptions(prompts=prompts, observe=self._observe, metrics=metrics)
        fleet = Fleet(
            pools=(
                Pool(
                    name=POOL,
                    model=servers.MODEL,
                    endpoints=(Endpoint(endpoint_id=self._endpoint_id, name="e"),),
                    policy=Policy(prefix_affinity=PrefixAffinity.PRECISE),
                ),
            )
        )
        self._dispatcher.apply(fleet)
        self.caches.watch(fleet)
        self._sent = 0

    async def chat(self, text: str) -> tuple[InferenceRequest, int]:
        """The request as the router has read it, and its predicted hit in tokens."""
        self._sent += 1
        body = {
            "model": servers.MODEL,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": 1,
        }
        raw = json.dumps(body).encode()
        accepted = self._intake.with_body(f"r{self._sent}", Head(shape=Shape.CHAT), None, raw)
        placed = self._dispatcher.place(accepted.request, lambda _: None)
        assert isinstance(placed, Placed)
        answer = await self.client.post(CHAT, body, {"X-Session-ID": placed.request_id})
        assert answer.status == 200, answer.text
        self._dispatcher.observe(FirstToken(placed.request_id, self._endpoint_id))
        self._dispatcher.observe(Finished(placed.request_id))
        return accepted.request, placed.decision.chosen.hit_tokens

    @property
    def ratio(self) -> float:
        return self.ratios.tokens_per_byte(servers.MODEL)

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                while not holds():  # noqa: ASYNC110  what an engine tells wakes nobody
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            pytest.fail(f"not within {WAIT_S:g} s: {what}; debug: {self.caches.debug()}")

    async def until_subscribed(self) -> None:
        def is_subscribed() -> bool:
            unavailable = self.caches.readings()[POOL, CacheKnowledge.UNAVAILABLE]
            return bool(self.caches.debug()) and unavailable == 0

        await self.until(is_subscribed, "subscribed")

    def is_stored(self, request: InferenceRequest) -> bool:
        """The engine has told of most of it: how much that is, the learned ratio decides."""
        told = [event.blocks for event in self.events if isinstance(event, BlocksStored)]
        return any(
            blocks == request.blocks[: len(blocks)] and len(blocks) > 0.5 * len(request.blocks)
            for blocks in told
        )

    def _observe(self, event: CacheEvent) -> None:
        self.events.append(event)
        self._dispatcher.observe(event)


@asynccontextmanager
async def routed(client: Client) -> AsyncIterator[Routed]:
    one = Routed(client)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(one.caches.run())
        try:
            await one.until_subscribed()
            yield one
        finally:
            task.cancel()


async def test_the_blocks_of_a_request_are_joined_and_tell_its_tokens_per_byte(
    main: Client,
) -> None:
    text = a_text("joined")
    true_tokens = len(await main.tokenize(messages=[{"role": "user", "content": text}]))
    async with routed(main) as one:
        request, _ = await one.chat(text)
        assert request.content_bytes is not None
        await one.until(lambda: one.is_stored(request), "its blocks are stored")
        await asyncio.sleep(2 * LEARN_AFTER_S)
        await one.chat("hi")
        assert one.caches.readings()[POOL, CacheKnowledge.EXACT] == 1

        expected = TokenRatios()
        expected.learn(servers.MODEL, request.content_bytes, true_tokens)
        wanted = expected.tokens_per_byte(servers.MODEL)
        assert abs(one.ratio - wanted) < 0.1 * abs(wanted - START_TOKENS_PER_BYTE)


async def test_a_prompt_that_others_have_evicted_is_not_predicted_any_more(
    main: Client, fresh_prompt: FreshPrompt
) -> None:
    text = a_text("evicted")
    async with routed(main) as one:
        request, _ = await one.chat(text)
        await one.until(lambda: one.is_stored(request), "its blocks are stored")
        _, still_there = await one.chat(text)
        assert still_there >= 256
        for _ in range(5):
            await main.complete(fresh_prompt(1984), max_tokens=1)

        def is_gone() -> bool:
            removed = [e.blocks for e in one.events if isinstance(e, BlocksRemoved)]
            return request.blocks[0] in {block for blocks in removed for block in blocks}

        await one.until(is_gone, "the blocks are removed")
        _, predicted = await one.chat(text)
        assert predicted == 0


async def test_an_engine_that_connects_finds_us_bound_and_its_reset_clears_the_cache(
    limited: Client,
) -> None:
    text = a_text("reset")
    async with routed(limited) as one:
        request, _ = await one.chat(text)
        await one.until(lambda: one.is_stored(request), "its blocks are stored")
        await limited.idle_metrics()
        reset = await limited.post("/reset_prefix_cache")
        assert reset.status == 200
        await one.chat("another, so that there is a batch to come with " + a_text("batch"))
        await one.until(
            lambda: any(isinstance(event, CacheCleared) for event in one.events), "cleared"
        )
        _, predicted = await one.chat(text)
        assert predicted == 0
