"""How KV events travel: sequence numbers, replay, frames, and who binds."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import zmq
import zmq.asyncio

from engine_contract import servers
from engine_contract.client import Client
from engine_contract.kv_events import WAIT_S, EventLog, decoded, replayed

FreshPrompt = Callable[[int], list[int]]
Plans = dict[str, servers.Plan]


async def test_sequence_numbers_start_at_zero_and_have_no_gap(
    main: Client, events: EventLog, fresh_prompt: FreshPrompt
) -> None:
    for _ in range(3):
        await main.complete(fresh_prompt(40), max_tokens=1)
    batches = await events.since(0)
    assert [batch.sequence for batch in batches] == list(range(len(batches)))
    assert {batch.topic for batch in batches} == {"kv@main@tiny"}
    assert {batch.dp_rank for batch in batches} == {0}
    times = [batch.time_s for batch in batches]
    assert times == sorted(times)


async def test_a_replay_starts_where_asked_and_ends_with_a_marker(
    main: Client,
    events: EventLog,
    plans: Plans,
    zmq_context: zmq.asyncio.Context,
    fresh_prompt: FreshPrompt,
) -> None:
    for _ in range(3):
        await main.complete(fresh_prompt(40), max_tokens=1)
    mark = await events.mark()
    everything = await events.since(0)
    endpoint = plans["main"].events.replay_endpoint
    async with asyncio.timeout(WAIT_S):
        last_two, marker = await replayed(zmq_context, endpoint, mark - 2)
        nothing, _ = await replayed(zmq_context, endpoint, mark)
    assert len(everything) == mark
    assert last_two == everything[-2:]
    assert nothing == []
    assert marker == [b"", b"", (-1).to_bytes(8, "big", signed=True), b""]


@pytest.fixture
async def live_batches(
    request: pytest.FixtureRequest, plans: Plans, zmq_context: zmq.asyncio.Context
) -> AsyncIterator[zmq.asyncio.Socket]:
    """A subscriber of the server that the parameter names, on the side that it must take."""
    source = plans[request.param].events
    with zmq_context.socket(zmq.SUB) as socket:
        socket.subscribe(source.topic)
        if request.param == "main":
            socket.connect(source.endpoint)
        else:
            socket.bind(source.endpoint)
        yield socket


async def first_batch(
    client: Client, socket: zmq.asyncio.Socket, fresh_prompt: FreshPrompt
) -> list[bytes]:
    """The first frames to arrive; a new subscriber misses what is published before it is known."""
    async with asyncio.timeout(WAIT_S):
        while True:
            await client.complete(fresh_prompt(40), max_tokens=1)
            if await socket.poll(100):
                frames: list[bytes] = await socket.recv_multipart()
                return frames


@pytest.mark.parametrize("live_batches", ["main"], indirect=True)
async def test_a_socket_file_is_bound_by_the_engine_which_sends_three_frames(
    main: Client,
    live_batches: zmq.asyncio.Socket,
    events: EventLog,
    fresh_prompt: FreshPrompt,
) -> None:
    frames = await first_batch(main, live_batches, fresh_prompt)
    assert len(frames) == 3
    batch = decoded(frames)
    assert [batch] == (await events.since(batch.sequence))[:1]


@pytest.mark.parametrize("live_batches", ["limited"], indirect=True)
async def test_an_address_without_a_wildcard_is_bound_by_the_subscriber(
    limited: Client,
    live_batches: zmq.asyncio.Socket,
    limited_events: EventLog,
    fresh_prompt: FreshPrompt,
) -> None:
    batch = decoded(await first_batch(limited, live_batches, fresh_prompt))
    assert batch.topic == "kv@limited"
    assert [batch] == (await limited_events.since(batch.sequence))[:1]


async def test_the_engine_tells_where_it_publishes(
    main: Client, limited: Client, plans: Plans
) -> None:
    for client, name in ((main, "main"), (limited, "limited")):
        source = plans[name].events
        answer = await client.get("/kv_event_sources")
        assert answer.json == {
            "0": {
                "enable_kv_cache_events": True,
                "publisher": "zmq",
                "endpoint": source.endpoint,
                "replay_endpoint": source.replay_endpoint,
                "buffer_steps": 10000,
                "hwm": 100000,
                "max_queue_size": 100000,
                "topic": source.topic,
            }
        }
