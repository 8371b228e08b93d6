"""A client that goes away frees its request at once, and no counter tells of it."""

import asyncio
from collections.abc import Callable

import aiohttp

from engine_contract.client import COMPLETIONS, Client, in_flight
from engine_contract.long_requests import LongRequests
from engine_contract.metrics_text import Exposition
from engine_contract.undisturbed import presume, undisturbed

ASKED = 1900

PER_REQUEST = (
    "e2e_request_latency_seconds",
    "request_queue_time_seconds",
    "request_prompt_tokens",
    "request_generation_tokens",
    "request_params_max_tokens",
)


def check_freed_unseen(before: Exposition, after: Exposition) -> None:
    """The request ended early, and neither outcomes nor per-request histograms know it."""

    def growth(name: str) -> float:
        return after.value(name) - before.value(name)

    generated = growth("vllm:generation_tokens_total")
    presume(generated < ASKED, "the request came to its end, as if its client had not left")
    assert after.value("vllm:kv_cache_usage_perc") == 0
    assert growth("vllm:time_to_first_token_seconds_count") == 1
    assert [growth(f"vllm:{name}_count") for name in PER_REQUEST] == [0] * len(PER_REQUEST)
    for reason in ("stop", "length", "abort", "error", "repetition"):
        ended = [
            m.value("vllm:request_success_total", finished_reason=reason) for m in (before, after)
        ]
        assert ended[0] == ended[1], reason


@undisturbed
async def test_leaving_a_stream_frees_its_request(
    main: Client, fresh_prompt: Callable[[int], list[int]]
) -> None:
    long = await LongRequests.to_begin(main)
    body = main.completion(fresh_prompt(40), max_tokens=ASKED)
    async with main.stream(COMPLETIONS, body) as stream:
        await anext(stream)
        assert in_flight(await long.metrics()) == (1, 0)
    check_freed_unseen(long.before, await main.idle_metrics())


@undisturbed
async def test_leaving_a_plain_request_frees_it(
    main: Client, fresh_prompt: Callable[[int], list[int]]
) -> None:
    before = await main.settled()
    body = main.completion(fresh_prompt(40), max_tokens=ASKED)

    async def impatient() -> None:
        async with aiohttp.ClientSession() as session:
            await session.post(main.url + COMPLETIONS, json=body)

    async with asyncio.TaskGroup() as group:
        request = group.create_task(impatient())
        tokens = "vllm:generation_tokens_total"
        await main.metrics_once(lambda m: m.value(tokens) > before.value(tokens))
        request.cancel()
    check_freed_unseen(before, await main.idle_metrics())


@undisturbed
async def test_leaving_the_queue_frees_the_place_there(
    limited: Client, fresh_prompt: Callable[[int], list[int]]
) -> None:
    long = await LongRequests.to_begin(limited)
    body = limited.completion(fresh_prompt(40), max_tokens=ASKED)
    async with limited.stream(COMPLETIONS, body) as one, limited.stream(COMPLETIONS, body) as two:
        await anext(one)
        await anext(two)
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            waiting = group.create_task(session.post(limited.url + COMPLETIONS, json=body))
            await long.in_flight_once(2, 1)
            waiting.cancel()
            await long.in_flight_once(2, 0)
    await limited.idle_metrics()
