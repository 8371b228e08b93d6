"""What KV events say: which blocks are stored and removed, and their hashes."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from engine_contract import servers
from engine_contract.client import Client
from engine_contract.kv_events import EventLog, block_hashes

FreshPrompt = Callable[[int], list[int]]

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


def only(found: list[dict[str, Any]]) -> dict[str, Any]:
    (event,) = found
    return event


async def test_a_prompt_stores_its_full_blocks_with_reproducible_hashes(
    main: Client, events: EventLog, fresh_prompt: FreshPrompt
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


async def test_text_is_hashed_by_its_tokens(main: Client, events: EventLog) -> None:
    words = "the house of the world and the people of the other system " * 4
    message = {"role": "user", "content": words}
    tokens = await main.tokenize(messages=[message])
    mark = await events.mark()
    await main.post("/v1/chat/completions", {"messages": [message], "max_tokens": 1})
    stored = only(await events.stored(mark, blocks=1))
    assert stored["block_hashes"] == block_hashes(tokens, block_tokens=32, algorithm="sha256")


async def test_the_salt_is_in_the_hash_of_the_first_block(
    main: Client, events: EventLog, fresh_prompt: FreshPrompt
) -> None:
    prompt = fresh_prompt(70)
    mark = await events.mark()
    await main.complete(prompt, max_tokens=1, cache_salt="tenant")
    stored = only(await events.stored(mark, blocks=2))
    assert stored["extra_keys"] == [["tenant"], None]
    expected = block_hashes(prompt, block_tokens=32, algorithm="sha256", salt="tenant")
    assert stored["block_hashes"] == expected


async def test_the_adapter_and_its_path_are_in_the_hash_of_every_block(
    main: Client, events: EventLog, folders: servers.Folders, fresh_prompt: FreshPrompt
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


async def test_the_published_test_vectors_hold(main: Client, events: EventLog) -> None:
    mark = await events.mark()
    await main.complete([9] * 32, max_tokens=1)
    await main.complete([19] * 32, max_tokens=1)
    stored = await events.stored(mark, blocks=2)
    hashes = [event["block_hashes"] for event in stored]
    assert hashes == [[16913342419363444410], [516980982324207911]]


async def test_the_other_algorithm_hashes_differently(
    limited: Client, limited_events: EventLog, fresh_prompt: FreshPrompt
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
    main: Client, events: EventLog, fresh_prompt: FreshPrompt
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
    main: Client, events: EventLog, fresh_prompt: FreshPrompt
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
    events: EventLog,
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
    main: Client, events: EventLog, fresh_prompt: FreshPrompt
) -> None:
    mark = await events.mark()
    for _ in range(5):
        await main.complete(fresh_prompt(1984), max_tokens=1)
    await events.stored(mark, blocks=5 * 62)
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
    main: Client, events: EventLog, fresh_prompt: FreshPrompt
) -> None:
    prompt = fresh_prompt(64)
    hashes = block_hashes(prompt, block_tokens=32, algorithm="sha256")
    await main.complete(prompt, max_tokens=1)
    mark = await events.mark()
    await main.complete(prompt, max_tokens=1)
    again = only(await events.stored(mark, blocks=1))
    assert again["parent_block_hash"] == hashes[0]
    assert again["block_hashes"] == hashes[1:]


async def test_a_reset_of_the_cache_is_told_with_the_next_batch(
    limited: Client, limited_events: EventLog, fresh_prompt: FreshPrompt
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
