"""Who is refused, who goes first, and what the engine says about its load."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from engine_contract import servers
from engine_contract.client import CHAT, COMPLETIONS, Client, Stream
from engine_contract.long_requests import LongRequests
from engine_contract.undisturbed import undisturbed

FreshPrompt = Callable[[int], list[int]]

CHAT_PROMPT = {"messages": [{"role": "user", "content": "a"}]}

BUSY = {
    "error": {
        "message": "The engine is currently busy and cannot accept new requests. "
        "Please try again later or on a different instance.",
        "type": "Service Unavailable",
        "param": None,
        "code": 503,
    }
}


@asynccontextmanager
async def full(client: Client, prompt: list[int]) -> AsyncIterator[LongRequests]:
    """As many requests in flight as the limited server takes: two running, one waiting."""
    body = client.completion(prompt, max_tokens=1900)
    long = await LongRequests.to_begin(client)
    async with asyncio.TaskGroup() as group:
        requests = [
            group.create_task(client.post(COMPLETIONS, body)) for _ in range(servers.MAX_IN_FLIGHT)
        ]
        await long.in_flight_once(2, 1)
        yield long
        for request in requests:
            request.cancel()
    await client.idle_metrics()


@undisturbed
async def test_a_full_engine_refuses_and_stays_healthy(
    limited: Client, fresh_prompt: FreshPrompt
) -> None:
    counter = "vllm:admission_rejections_total"
    async with full(limited, fresh_prompt(40)) as long:
        refused = await limited.post(COMPLETIONS, limited.completion("a", max_tokens=1))
        async with limited.stream(CHAT, CHAT_PROMPT) as stream:
            streamed = (await stream.raw()).decode()
        health = await limited.get("/health")
        after = await long.metrics()
    assert (refused.status, refused.json) == (503, BUSY)
    assert refused.headers.keys() == {"date", "server", "content-length", "content-type", "vary"}
    assert (stream.status, json.loads(streamed)) == (503, BUSY)
    assert stream.headers["content-type"] == "application/json"
    assert health.status == 200
    reasons = ("max_num_queued_reqs", "max_num_queued_tokens")
    grown = [after.value(counter, reason=r) - long.before.value(counter, reason=r) for r in reasons]
    assert grown == [2, 0]


@undisturbed
async def test_a_place_that_becomes_free_is_given_again(
    limited: Client, fresh_prompt: FreshPrompt
) -> None:
    async with full(limited, fresh_prompt(40)):
        pass
    await limited.complete("a", max_tokens=1)


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        pytest.param({"priority": -10}, {}, id="by the body"),
        pytest.param({"priority": 20}, {"X-Vllm-Priority": "-10"}, id="the header beats the body"),
        pytest.param(
            {"priority": -10}, {"X-Vllm-Priority": "high"}, id="a header that is no number is void"
        ),
    ],
)
@undisturbed
async def test_the_lowest_priority_starts_first_and_equals_start_in_order(
    main: Client, fresh_prompt: FreshPrompt, fields: dict[str, Any], headers: Mapping[str, str]
) -> None:
    started: asyncio.Queue[str] = asyncio.Queue()
    over = asyncio.Event()

    async def hold(name: str, fields: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        async with main.stream(COMPLETIONS, long_body(main, fresh_prompt, fields), headers) as one:
            await anext(one)
            started.put_nowait(name)
            await over.wait()

    order = []
    async with (
        all_places_taken(main, fresh_prompt) as (long, running),
        asyncio.TaskGroup() as group,
    ):
        usual = {"priority": 10}
        queue = [("first", usual, {}), ("second", usual, {}), ("urgent", fields, headers)]
        for position, request in enumerate(queue, start=1):
            group.create_task(hold(*request))
            await long.in_flight_once(servers.MAX_RUNNING, position)
        for stream in running[:3]:
            stream.close()
            order.append(await started.get())
        await long.metrics()
        over.set()
    assert order == ["urgent", "first", "second"]


@asynccontextmanager
async def all_places_taken(
    client: Client, fresh_prompt: FreshPrompt
) -> AsyncIterator[tuple[LongRequests, list[Stream]]]:
    """Streams in all places of the batch."""
    long = await LongRequests.to_begin(client)
    async with AsyncExitStack() as running:
        streams = []
        for _ in range(servers.MAX_RUNNING):
            stream = client.stream(COMPLETIONS, long_body(client, fresh_prompt, {}))
            streams.append(await running.enter_async_context(stream))
        await long.in_flight_once(servers.MAX_RUNNING, 0)
        yield long, streams


def long_body(
    client: Client, fresh_prompt: FreshPrompt, fields: Mapping[str, Any]
) -> dict[str, Any]:
    """As long as the cache has room for in all places at once."""
    return client.completion(fresh_prompt(10), max_tokens=700, **fields)


ORCA_TEXT = re.compile(
    r"TEXT named_metrics\.num_requests_waiting=(\d+\.\d+), "
    r"named_metrics\.kv_cache_usage_perc=(\d+\.\d+)"
)


@pytest.mark.parametrize("wanted", ["text", "TEXT"])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_load_is_reported_as_text_in_a_header(main: Client, path: str, wanted: str) -> None:
    report = await load_report(main, path, wanted)
    match = ORCA_TEXT.fullmatch(report)
    assert match is not None, report
    waiting, usage = map(float, match.groups())
    assert waiting == 0
    assert 0 <= usage < 0.1


@pytest.mark.parametrize("wanted", ["json", "JSON"])
async def test_load_is_reported_as_json_in_a_header(main: Client, wanted: str) -> None:
    report = await load_report(main, COMPLETIONS, wanted)
    named = json.loads(report.removeprefix("JSON "))["named_metrics"]
    assert report == f"JSON {json.dumps({'named_metrics': named})}"
    assert named.keys() == {"num_requests_waiting", "kv_cache_usage_perc"}
    assert named["num_requests_waiting"] == 0


async def load_report(client: Client, path: str, wanted: str) -> str:
    body = (
        {"prompt": "a"} if path == COMPLETIONS else {"messages": [{"role": "user", "content": "a"}]}
    )
    answer = await client.post(
        path, {**body, "max_tokens": 1}, {"endpoint-load-metrics-format": wanted}
    )
    assert answer.status == 200
    return answer.headers["endpoint-load-metrics"]


async def test_a_stream_carries_no_load_report(main: Client) -> None:
    body = main.completion("a", max_tokens=2)
    wanted = {"endpoint-load-metrics-format": "text"}
    async with main.stream(COMPLETIONS, body, wanted) as stream:
        await stream.rest()
    assert "endpoint-load-metrics" not in stream.headers


@pytest.mark.parametrize("headers", [{}, {"endpoint-load-metrics-format": "xml"}])
async def test_no_load_report_without_a_known_format(main: Client, headers: dict[str, str]) -> None:
    answer = await main.post(COMPLETIONS, main.completion("a", max_tokens=1), headers)
    assert answer.status == 200
    assert "endpoint-load-metrics" not in answer.headers


async def test_a_paused_engine_holds_new_requests_until_it_is_resumed(limited: Client) -> None:
    paused = await limited.post("/pause")
    assert (paused.status, paused.json) == (200, {"status": "paused"})
    assert (await limited.get("/is_paused")).json == {"is_paused": True}
    async with asyncio.TaskGroup() as group:
        request = group.create_task(limited.complete("a", max_tokens=1))
        done, _ = await asyncio.wait([request], timeout=0.5)
        assert not done
        resumed = await limited.post("/resume")
    assert resumed.status == 200
    assert request.result()["usage"]["completion_tokens"] == 1
    assert (await limited.get("/is_paused")).json == {"is_paused": False}
