"""What the client makes of answers: complete, shed, failed, and when the first token came."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from headway_cli.demo.client import Exchange, Replay, Status, replay
from headway_sim.workloads.request import Segment, WorkloadRequest

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

EMPTY = b'data: {"choices":[{"index":0,"text":""}]}\n\n'
TEXT = b'data: {"choices":[{"index":0,"text":" word"}]}\n\n'
USAGE = (
    b'data: {"choices":[],"usage":{"prompt_tokens":40,"completion_tokens":2,'
    b'"prompt_tokens_details":{"cached_tokens":32}}}\n\n'
)
DONE = b"data: [DONE]\n\n"


def a_request(at_s: float = 0.0) -> WorkloadRequest:
    return WorkloadRequest(at_s=at_s, prompt=(Segment("a", 40),), output_tokens=2)


def streaming(*chunks: bytes) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        return response

    return handle


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/completions", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def exchange_with(handler: Handler) -> Exchange:
    async with serving(handler) as url:
        plan = Replay(url=url, model="m", dilation=2.0, request_timeout_s=120.0)
        (exchange,) = await replay(plan, [a_request()], done=lambda _: None)
    return exchange


async def test_a_stream_that_ends_with_usage_is_complete() -> None:
    exchange = await exchange_with(streaming(EMPTY, TEXT, TEXT, USAGE, DONE))
    assert exchange.status is Status.COMPLETE
    assert (exchange.prompt_tokens, exchange.cached_tokens) == (40, 32)
    assert exchange.ttft_s is not None and exchange.ttft_s > 0


async def test_events_may_be_cut_anywhere() -> None:
    whole = EMPTY + TEXT + TEXT + USAGE + DONE
    pieces = [whole[a:b] for a, b in pairwise([0, 5, 45, 61, 63, 100, 150, 151, len(whole)])]
    assert (await exchange_with(streaming(*pieces))).status is Status.COMPLETE


async def test_the_first_token_counts_from_the_first_text_in_engine_seconds() -> None:
    """At dilation 2 a quarter of a wall second is half as long for the engine."""
    read_empty = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(EMPTY)
        await asyncio.wait_for(read_empty.wait(), 120)
        for chunk in (TEXT, USAGE, DONE):
            await response.write(chunk)
        return response

    asyncio.get_running_loop().call_later(0.25, read_empty.set)
    exchange = await exchange_with(handle)
    assert exchange.ttft_s is not None
    # Not less, whatever the machine is busy with.
    assert exchange.ttft_s >= 0.24 / 2


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param((TEXT,), id="neither usage nor end mark"),
        pytest.param((TEXT, DONE), id="no usage"),
        pytest.param((TEXT, USAGE), id="no end mark"),
        pytest.param((USAGE, DONE), id="no text"),
        pytest.param((), id="nothing"),
        pytest.param(
            (TEXT, b'data: {"error":{"message":"EngineCore encountered an issue"}}\n\n', DONE),
            id="an error in the stream",
        ),
    ],
)
async def test_a_stream_that_breaks_off_has_failed(chunks: tuple[bytes, ...]) -> None:
    exchange = await exchange_with(streaming(*chunks))
    assert exchange.status is Status.FAILED
    assert exchange.ttft_s is None


async def test_a_refusal_with_a_reason_is_shed_and_any_other_has_failed() -> None:
    def refusing(**headers: str) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return web.Response(status=503, headers=headers, text="busy")

        return handle

    shed = await exchange_with(refusing(**{"x-headway-dropped-reason": "queue-full"}))
    failed = await exchange_with(refusing())
    assert (shed.status, shed.error) == (Status.SHED, "queue-full")
    assert (failed.status, failed.error) == (Status.FAILED, "503: busy")


async def test_a_connection_that_is_refused_has_failed() -> None:
    async with serving(streaming()) as url:
        gone = url
    (exchange,) = await replay(
        Replay(url=gone, model="m", dilation=1.0), [a_request()], done=lambda _: None
    )
    assert exchange.status is Status.FAILED


async def test_requests_are_sent_at_their_times_and_reported_in_their_order() -> None:
    arrived: list[float] = []
    bodies: list[dict[str, Any]] = []
    answer = streaming(TEXT, USAGE, DONE)

    async def handle(request: web.Request) -> web.StreamResponse:
        arrived.append(asyncio.get_running_loop().time())
        bodies.append(await request.json())
        return await answer(request)

    done: list[Exchange] = []
    async with serving(handle) as url:
        start = asyncio.get_running_loop().time()
        plan = Replay(url=url, model="m", dilation=2.0)
        exchanges = await replay(plan, [a_request(0.05 * n) for n in range(4)], done.append)
    assert len(exchanges) == len(done) == 4
    assert all(at - start >= 0.1 * n for n, at in enumerate(arrived))
    assert {body["max_tokens"] for body in bodies} == {2}
    assert {len(body["prompt"]) for body in bodies} == {160}
