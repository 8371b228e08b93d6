"""More work than the KV cache holds: requests wait or are preempted, and all of them finish."""

import asyncio
from collections.abc import Callable

import pytest

from engine_contract import servers
from engine_contract.client import Client, in_flight
from engine_contract.metrics_text import Exposition
from engine_contract.undisturbed import presume, undisturbed

REQUESTS, PROMPT_TOKENS, ASKED = 12, 700, 500
"""12 x 1,200 tokens into 6,400 tokens of cache."""


async def scrapes_until_done(client: Client, work: asyncio.Task[None]) -> list[Exposition]:
    seen = [await client.metrics()]
    while not work.done():
        seen.append(await client.metrics())
    return seen


@undisturbed
async def test_pressure_shows_as_waiting_usage_and_preemptions_and_nothing_is_lost(
    main: Client, fresh_prompt: Callable[[int], list[int]]
) -> None:
    before = await main.settled()
    answers = []

    async def one(prompt: list[int]) -> None:
        answers.append(await main.complete(prompt, max_tokens=ASKED))

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as requests:
            for _ in range(REQUESTS):
                requests.create_task(one(fresh_prompt(PROMPT_TOKENS)))

    async with asyncio.TaskGroup() as group:
        during = await scrapes_until_done(main, group.create_task(all_of_them()))
    after = await main.idle_metrics()

    assert [a["usage"]["completion_tokens"] for a in answers] == [ASKED] * REQUESTS
    assert {a["choices"][0]["finish_reason"] for a in answers} == {"length"}
    check_gauges(during)
    pressed = scrapes_under_pressure(during)
    presume(len(pressed) > 0, "no two scrapes show that a request was preempted")
    assert min(scrape.value("vllm:kv_cache_usage_perc") for scrape in pressed) > 0.8
    preemptions = growth("vllm:num_preemptions_total", before, after)
    assert preemptions > 0
    assert growth("vllm:request_num_preemptions_sum", before, after) == preemptions
    assert growth("vllm:request_num_preemptions_count", before, after) == REQUESTS
    assert growth("vllm:generation_tokens_total", before, after) == REQUESTS * ASKED
    assert growth("vllm:prompt_tokens_total", before, after) == REQUESTS * PROMPT_TOKENS
    assert growth("vllm:kv_block_lifetime_seconds_count", before, after) > 0
    assert after.value("vllm:kv_cache_usage_perc") == 0


def growth(name: str, before: Exposition, after: Exposition) -> float:
    return after.value(name) - before.value(name)


def scrapes_under_pressure(scrapes: list[Exposition]) -> list[Exposition]:
    """Those before the first end in which fewer run than did before: one was preempted.

    No more is free than what it held, 38 blocks.
    """
    before_first_end = [scrape for scrape in scrapes if sum(in_flight(scrape)) == REQUESTS]
    most, found = 0, []
    for scrape in before_first_end:
        running, _ = in_flight(scrape)
        if running < most:
            found.append(scrape)
        most = max(most, running)
    return found


def check_gauges(scrapes: list[Exposition]) -> None:
    for scrape in scrapes:
        running, waiting = in_flight(scrape)
        by_reason = {
            reason: scrape.value("vllm:num_requests_waiting_by_reason", reason=reason)
            for reason in ("capacity", "deferred")
        }
        assert running <= servers.MAX_RUNNING
        assert running + waiting <= REQUESTS
        assert by_reason == {"capacity": waiting, "deferred": 0}
        usage = scrape.value("vllm:kv_cache_usage_perc")
        # One block is the null block, which never holds anything.
        used_blocks = usage * (servers.BLOCKS - 1)
        assert used_blocks == pytest.approx(round(used_blocks), abs=1e-6)
        assert 0 <= usage <= 1
