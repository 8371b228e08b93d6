"""Fault hooks: what each does to clients, probes and scrapes."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
import zmq.asyncio

from headway_engine.kv_events import END_OF_REPLAY

LIMIT_S = 120.0

COMPLETIONS = "/v1/completions"
RUNNING = 'vllm:num_requests_running{engine="0",model_name="tiny"}'
REJECTED = 'vllm:admission_rejections_total{model_name="tiny",reason="max_num_queued_reqs"}'

SLOW = 50.0
"""A dilation at which 1,900 tokens take minutes: no stall outlasts them."""

Launch = Callable[..., Coroutine[Any, Any, Any]]


def asked(prompt: str = "the house", **fields: Any) -> dict[str, Any]:
    return {"prompt": prompt, "max_tokens": 4, "ignore_eos": True, **fields}


async def test_a_crash_ends_streams_with_an_error_and_done(launch: Launch) -> None:
    engine = await launch(dilation=SLOW)
    async with engine.stream(COMPLETIONS, asked(max_tokens=1900)) as response:
        await response.content.readany()
        await engine.control("/crash_worker", exit_after_s=5)
        text = (await response.content.read()).decode()
    *_, error, done, _ = text.split("\n\n")
    assert done == "data: [DONE]"
    assert error.startswith('data: {"error": {"message": "EngineCore encountered an issue.')
    assert error.endswith('"type": "InternalServerError", "param": null, "code": 500}}')
    assert engine.exits == [(5, 1)]


async def test_after_a_crash_probes_say_503_and_requests_get_500(launch: Launch) -> None:
    engine = await launch(dilation=SLOW)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(engine.post(COMPLETIONS, asked(max_tokens=1900)))
        await engine.until(RUNNING, 1)
        await engine.control("/crash_worker")
    assert (await waiting).status == 500
    assert (await engine.get("/health")).status == 503
    reply = await engine.post(COMPLETIONS, asked())
    assert (reply.status, reply.json["error"]["type"]) == (500, "InternalServerError")
    assert (await engine.get("/metrics")).status == 200


async def test_a_hanging_engine_answers_after_it_has_resumed(launch: Launch) -> None:
    engine = await launch()
    await engine.control("/hang")
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(engine.post(COMPLETIONS, asked()))
        await engine.until(RUNNING, 1)
        assert (await engine.get("/health")).status == 200
        assert engine.server.driver.stats().steps == 0
        await engine.control("/resume")
    assert (await waiting).status == 200


async def test_a_straggler_is_slower_by_its_factor(launch: Launch) -> None:
    engine = await launch(enable_per_request_metrics=True)
    reply = await engine.control("/straggle", factor=3)
    assert reply.json["straggle"] == 3
    assert engine.server.clock.wall_per_engine == 3
    assert (await engine.post(COMPLETIONS, asked())).status == 200
    healed = await engine.control("/heal")
    assert healed.json["straggle"] == 1


async def test_a_refusing_engine_looks_full_and_counts_no_rejection(launch: Launch) -> None:
    engine = await launch()
    await engine.control("/refuse", on=True)
    reply = await engine.post(COMPLETIONS, asked())
    assert (reply.status, reply.json["error"]["type"]) == (503, "Service Unavailable")
    assert await engine.value(REJECTED) == 0
    await engine.control("/refuse", on=False)
    assert (await engine.post(COMPLETIONS, asked())).status == 200


async def test_stale_metrics_repeat_themselves(launch: Launch) -> None:
    engine = await launch()
    await engine.control("/metrics", stale=True)
    tokens = 'vllm:generation_tokens_total{engine="0",model_name="tiny"}'
    assert await engine.value(tokens) == 0
    await engine.post(COMPLETIONS, asked())
    assert await engine.value(tokens) == 0
    await engine.control("/metrics", stale=False)
    assert await engine.value(tokens) == 4


async def test_metrics_that_are_gone_are_not_found_until_it_is_healed(launch: Launch) -> None:
    engine = await launch()
    await engine.control("/metrics", gone=True)
    assert (await engine.get("/metrics")).status == 404
    assert (await engine.post(COMPLETIONS, asked())).status == 200
    await engine.control("/heal")
    assert (await engine.get("/metrics")).status == 200


async def test_listening_is_switched(launch: Launch) -> None:
    engine = await launch()
    await engine.control("/listen", on=False)
    await engine.control("/heal")
    assert engine.listens == [False, True]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/straggle", {"factor": 0}, "body.factor"),
        ("/straggle", {}, "body.factor"),
        ("/kv_events", {"lose": -2}, "body.lose"),
        ("/slow_chunks", {"delay_s": "x"}, "body.delay_s"),
        ("/refuse", {"on": True, "of": 1}, "body.of"),
    ],
)
async def test_a_wrong_order_is_refused_by_field(
    launch: Launch, path: str, body: dict[str, Any], param: str
) -> None:
    engine = await launch()
    reply = await engine.control(path, **body)
    assert (reply.status, reply.json["error"]["param"]) == (400, param)


def events_flag(folder: Path) -> str:
    config = {
        "enable_kv_cache_events": True,
        "endpoint": f"ipc://{folder}/kv",
        "replay_endpoint": f"ipc://{folder}/replay",
        "topic": "kv@test",
    }
    return msgspec.json.encode(config).decode()


async def sequences_of_replay(context: zmq.asyncio.Context, folder: Path) -> list[int]:
    with context.socket(zmq.DEALER) as dealer:
        dealer.connect(f"ipc://{folder}/replay")
        await dealer.send_multipart([b"", (0).to_bytes(8, "big")])
        found = []
        async with asyncio.timeout(LIMIT_S):
            while (frames := await dealer.recv_multipart())[2] != END_OF_REPLAY:
                found.append(int.from_bytes(frames[2], "big"))
    return found


async def test_lost_events_are_missing_from_the_stream_and_in_the_replay(
    launch: Launch, tmp_path: Path
) -> None:
    engine = await launch(kv_events_config=events_flag(tmp_path))
    context = zmq.asyncio.Context()
    try:
        with context.socket(zmq.SUB) as subscriber:
            subscriber.connect(f"ipc://{tmp_path}/kv")
            subscriber.subscribe(b"kv@test")
            first = await first_batch(engine, subscriber, context, tmp_path)
            await engine.control("/kv_events", lose=1)
            before = await sequences_of_replay(context, tmp_path)
            for number in range(2):
                await engine.post(COMPLETIONS, asked(f"lost {number} " * 30))
            async with asyncio.timeout(LIMIT_S):
                _, sequence, _ = await subscriber.recv_multipart()
            replayed = await sequences_of_replay(context, tmp_path)
    finally:
        context.destroy(linger=0)
    lost = before[-1] + 1
    assert first in before
    assert int.from_bytes(sequence, "big") == lost + 1
    assert replayed == list(range(lost + 2))


async def first_batch(
    engine: Any, subscriber: zmq.asyncio.Socket, context: zmq.asyncio.Context, folder: Path
) -> int:
    """Ask until the subscription has arrived; then drain what it brought, to the last batch."""
    async with asyncio.timeout(LIMIT_S):
        for number in count():
            await engine.post(COMPLETIONS, asked(f"warm {number} " * 30, max_tokens=1))
            if await subscriber.poll(20):
                break
        last = (await sequences_of_replay(context, folder))[-1]
        seen = -1
        while seen < last:
            _, sequence, _ = await subscriber.recv_multipart()
            seen = int.from_bytes(sequence, "big")
    return seen


async def test_delayed_events_come_late_and_in_order(launch: Launch, tmp_path: Path) -> None:
    engine = await launch(kv_events_config=events_flag(tmp_path))
    context = zmq.asyncio.Context()
    try:
        with context.socket(zmq.SUB) as subscriber:
            subscriber.connect(f"ipc://{tmp_path}/kv")
            subscriber.subscribe(b"")
            last = await first_batch(engine, subscriber, context, tmp_path)
            await engine.control("/kv_events", delay_s=0.2)
            for number in range(3):
                await engine.post(COMPLETIONS, asked(f"late {number} " * 30, max_tokens=1))
            assert await sequences_of_replay(context, tmp_path) == list(range(last + 4))
            async with asyncio.timeout(LIMIT_S):
                late = [await subscriber.recv_multipart() for _ in range(3)]
    finally:
        context.destroy(linger=0)
    assert [int.from_bytes(frames[1], "big") for frames in late] == [last + 1, last + 2, last + 3]
