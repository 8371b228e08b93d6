"""KV events: wire format, sequence, hashes, replay, and who binds."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import zmq
import zmq.asyncio

from engine_contract import servers
from engine_contract.client import Client
from engine_contract.kv_events import Batch, block_hashes, decoded, replayed

FreshPrompt = Callable[[int], list[int]]
Plans = dict[str, servers.Plan]

WAIT_S = 30.0

STORED_KEYS = [
    "type",
    "block_hashes",
    "parent_block_hash",
    "token_ids",
    "block_size",
    "lora_id",
    "medium",
    "lora_name",
    "extra_keys",
    "group_idx",
    "kv_cache_spec_kind",
]


class Events:
    """All batches of one server, read by replay: nothing is missed and nothing is waited for."""

    def __init__(self, context: zmq.asyncio.Context, source: servers.EventSource) -> None:
        self._context = context
        self._source = source

    async def since(self, first: int) -> list[Batch]:
        async with asyncio.timeout(WAIT_S):
            batches, _ = await replayed(self._context, self._source.replay_endpoint, first)
        return batches

    async def mark(self) -> int:
        """The sequence number of the next batch."""
        batches = await self.since(0)
        return batches[-1].sequence + 1 if batches else 0

    async def stored(self, first: int, blocks: int) -> list[dict[str, Any]]:
        """``BlockStored`` events from batch ``first`` on, once they hold so many blocks."""
        async with asyncio.timeout(WAIT_S):
            while True:
                batches = await self.since(first)
                events = [e for b in batches for e in b.events if e["type"] == "BlockStored"]
                if sum(len(event["block_hashes"]) for event in events) >= blocks:
                    return events
                await asyncio.sleep(0.02)


@pytest.fixture
def events(main: Client, plans: Plans, zmq_context: zmq.asyncio.Context) -> Events:
    return Events(zmq_context, plans["main"].events)


@pytest.fixture
def limited_events(limited: Client, plans: Plans, zmq_context: zmq.asyncio.Context) -> Events:
    return Events(zmq_context, plans["limited"].events)


def only(found: list[dict[str, Any]]) -> dict[str, Any]:
    (event,) = found
    return event


async def test_a_prompt_stores_its_full_blocks_with_reproducible_hashes(
    main: Client, events: Events, fresh_prompt: FreshPrompt
) -> None:
    prompt = fresh_prompt(100)
    mark = await events.mark()
    await main.complete(prompt, max_tokens=1)
    stored = only(await events.stored(mark, blocks=3))
    assert stored == {
        "type": "BlockStored",
        "block_hashes": block_hashes(prompt, block_tokens=32, algorithm="sha256"),
        "parent_block_hash": None,
        "token_ids": prompt[:96],
        "block_size": 32,
        "lora_id": None,
        "medium": "GPU",
        "lora_name": None,
        "extra_keys": [None, None, None],
        "group_idx": 0,
        "kv_cache_spec_kind": "full_attention",
    }
    assert list(stored) == STORED_KEYS


async def test_text_is_hashed_by_its_tokens(main: Client, events: Events) -> None:
    words = "the house of the world and the people of the other system " * 4
    message = {"role": "user", "content": words}
    tokens = await main.tokenize(messages=[message])
    mark = await events.mark()
    await main.post("/v1/chat/completions", {"messages": [message], "max_tokens": 1})
    stored = only(await events.stored(mark, blocks=1))
    assert stored["block_hashes"] == block_hashes(tokens, block_tokens=32, algorithm="sha256")


async def test_the_salt_is_in_the_hash_of_the_first_block(
    main: Client, events: Events, fresh_prompt: FreshPrompt
) -> None:
    prompt = fresh_prompt(70)
    mark = await events.mark()
    await main.complete(prompt, max_tokens=1, cache_salt="tenant")
    stored = only(await events.stored(mark, blocks=2))
    assert stored["extra_keys"] == [["tenant"], None]
    expected = block_hashes(prompt, block_tokens=32, algorithm="sha256", salt="tenant")
    assert stored["block_hashes"] == expected


async def test_the_adapter_and_its_path_are_in_the_hash_of_every_block(
    main: Client, events: Events, folders: servers.Folders, fresh_prompt: FreshPrompt
) -> None:
    prompt = fresh_prompt(70)
    adapter = ("sql", folders.adapter("sql"))
    mark = await events.mark()
    await main.complete(prompt, max_tokens=1, model="sql")
    await main.complete(prompt, max_tokens=1, model="sql", cache_salt="tenant")
    plain, salted = await events.stored(mark, blocks=4)
    assert (plain["lora_id"], plain["lora_name"]) == (1, "sql")
    assert plain["extra_keys"] == [["sql"], ["sql"]]
    assert salted["extra_keys"] == [["sql", "tenant"], ["sql"]]
    for stored, salt in ((plain, None), (salted, "tenant")):
        assert stored["block_hashes"] == block_hashes(
            prompt, block_tokens=32, algorithm="sha256", salt=salt, adapter=adapter
        )


async def test_the_published_test_vectors_hold(main: Client, events: Events) -> None:
    mark = await events.mark()
    await main.complete([9] * 32, max_tokens=1)
    await main.complete([19] * 32, max_tokens=1)
    stored = await events.stored(mark, blocks=2)
    hashes = [event["block_hashes"] for event in stored]
    assert hashes == [[16913342419363444410], [516980982324207911]]


async def test_the_other_algorithm_hashes_differently(
    limited: Client, limited_events: Events, fresh_prompt: FreshPrompt
) -> None:
    prompt = fresh_prompt(100)
    mark = await limited_events.mark()
    await limited.complete([9] * 32, max_tokens=1)
    await limited.complete(prompt, max_tokens=1)
    vector, stored = await limited_events.stored(mark, blocks=4)
    assert vector["block_hashes"] == [3764199312750953101]
    expected = block_hashes(prompt, block_tokens=32, algorithm="sha256_cbor")
    assert stored["block_hashes"] == expected


async def test_only_blocks_that_the_cache_did_not_have_are_stored(
    main: Client, events: Events, fresh_prompt: FreshPrompt
) -> None:
    prompt = fresh_prompt(70)
    longer = [*prompt, *fresh_prompt(40)]
    await main.complete(prompt, max_tokens=1)
    mark = await events.mark()
    await main.complete(longer, max_tokens=1)
    hashes = block_hashes(longer, block_tokens=32, algorithm="sha256")
    stored = only(await events.stored(mark, blocks=1))
    assert stored["parent_block_hash"] == hashes[1]
    assert stored["block_hashes"] == hashes[2:]
    assert stored["token_ids"] == longer[64:96]


async def test_blocks_of_the_answer_are_stored_as_they_fill(
    main: Client, events: Events, fresh_prompt: FreshPrompt
) -> None:
    prompt = fresh_prompt(40)
    mark = await events.mark()
    body = await main.complete(prompt, max_tokens=60, return_token_ids=True)
    sequence = [*prompt, *body["choices"][0]["token_ids"]]
    # The last token has no KV, so 99 tokens fill three blocks, one at a time.
    stored = await events.stored(mark, blocks=3)
    hashes = block_hashes(sequence[:99], block_tokens=32, algorithm="sha256")
    assert [event["block_hashes"] for event in stored] == [[one] for one in hashes]
    assert [event["parent_block_hash"] for event in stored] == [None, *hashes[:2]]
    assert [token for event in stored for token in event["token_ids"]] == sequence[:96]


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        pytest.param({}, {"X-Session-ID": "mine"}, "mine", id="from the header"),
        pytest.param({"session_id": "body"}, {}, "body", id="from the body"),
        pytest.param({"session_id": "body"}, {"X-Session-ID": "mine"}, "body", id="body first"),
    ],
)
async def test_the_session_is_repeated_in_the_events_of_its_request(
    main: Client,
    events: Events,
    fresh_prompt: FreshPrompt,
    body: dict[str, Any],
    headers: dict[str, str],
    expected: str,
) -> None:
    mark = await events.mark()
    prompt = fresh_prompt(40)
    request = main.completion(prompt, max_tokens=30, **body)
    answer = await main.post("/v1/completions", request, headers)
    assert answer.status == 200
    stored = await events.stored(mark, blocks=2)
    assert [event["session_id"] for event in stored] == [expected, expected]
    assert list(stored[0]) == [*STORED_KEYS, "session_id"]


async def test_a_full_cache_removes_the_blocks_used_least_recently(
    main: Client, events: Events, fresh_prompt: FreshPrompt
) -> None:
    mark = await events.mark()
    for _ in range(5):
        await main.complete(fresh_prompt(1984), max_tokens=1)
    batches = await events.since(mark)
    changes = [event for batch in batches for event in batch.events]
    removed = [event for event in changes if event["type"] == "BlockRemoved"]
    # Five prompts of 62 blocks into 199: at least 111 must go, one event each.
    assert len(removed) >= 5 * 62 - (servers.BLOCKS - 1)
    for event in removed:
        assert event.keys() == {"type", "block_hashes", "medium", "group_idx"}
        assert (len(event["block_hashes"]), event["medium"], event["group_idx"]) == (1, "GPU", 0)
    everything = [event for batch in await events.since(0) for event in batch.events]
    copies: Counter[int] = Counter()
    for event in everything:
        stored = event["type"] == "BlockStored"
        for one in event["block_hashes"]:
            copies[one] += 1 if stored else -1
            assert copies[one] >= 0
    assert copies.total() <= servers.BLOCKS - 1


async def test_a_prompt_that_ends_with_a_block_computes_it_again_and_stores_a_second_copy(
    main: Client, events: Events, fresh_prompt: FreshPrompt
) -> None:
    prompt = fresh_prompt(64)
    hashes = block_hashes(prompt, block_tokens=32, algorithm="sha256")
    await main.complete(prompt, max_tokens=1)
    mark = await events.mark()
    await main.complete(prompt, max_tokens=1)
    again = only(await events.stored(mark, blocks=1))
    assert again["parent_block_hash"] == hashes[0]
    assert again["block_hashes"] == hashes[1:]


async def test_sequence_numbers_start_at_zero_and_have_no_gap(
    main: Client, events: Events, fresh_prompt: FreshPrompt
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
    main: Client, plans: Plans, zmq_context: zmq.asyncio.Context, fresh_prompt: FreshPrompt
) -> None:
    for _ in range(3):
        await main.complete(fresh_prompt(40), max_tokens=1)
    endpoint = plans["main"].events.replay_endpoint
    async with asyncio.timeout(WAIT_S):
        everything, _ = await replayed(zmq_context, endpoint, 0)
        last_two, marker = await replayed(zmq_context, endpoint, len(everything) - 2)
        nothing, _ = await replayed(zmq_context, endpoint, len(everything))
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
    events: Events,
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
    limited_events: Events,
    fresh_prompt: FreshPrompt,
) -> None:
    batch = decoded(await first_batch(limited, live_batches, fresh_prompt))
    assert batch.topic == "kv@limited"
    assert [batch] == (await limited_events.since(batch.sequence))[:1]


async def test_a_reset_of_the_cache_is_told_with_the_next_batch(
    limited: Client, limited_events: Events, fresh_prompt: FreshPrompt
) -> None:
    prompt = fresh_prompt(40)
    await limited.complete(prompt, max_tokens=1)
    await limited.idle_metrics()
    mark = await limited_events.mark()
    reset = await limited.post("/reset_prefix_cache")
    assert (reset.status, reset.json) == (200, {"success": True})
    assert await limited_events.since(mark) == []
    await limited.complete(prompt, max_tokens=1)
    stored = only(await limited_events.stored(mark, blocks=1))
    (batch,) = await limited_events.since(mark)
    assert list(batch.events) == [{"type": "AllBlocksCleared"}, stored]
    assert stored["token_ids"] == prompt[:32]


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
