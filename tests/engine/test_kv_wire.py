"""KV events on the wire: byte for byte what a real server has sent."""

from typing import Any

import msgspec
import pytest

from headway_engine.answer_plan import AnswerPlan
from headway_engine.block_hashes import BlockHasher, BlockIdentity
from headway_engine.continuation import Continuation
from headway_engine.generation import Generation, Inbox, Siblings
from headway_engine.kv_events import binds
from headway_engine.kv_wire import encode_batch, event_maps
from headway_engine.token_blocks import TokenBlocks
from headway_sim.engine.facts import (
    EngineEvent,
    FinishReason,
    KvCleared,
    KvRemoved,
    KvStored,
    TokenEmitted,
)

BLOCK = 32
LORA_ROOT = "/srv/vllm/lora"


def generation(
    prompt: list[int], identity: BlockIdentity | None = None, **fields: Any
) -> Generation:
    hasher, identity = BlockHasher(BLOCK), identity or BlockIdentity()
    continuation = Continuation(prompt, range(10, 20), "")
    digests = hasher.extend(hasher.root(), prompt, 0, identity)
    return Generation(
        engine_id="r",
        prompt=prompt,
        continuation=continuation,
        plan=AnswerPlan(output_tokens=100, finish_reason=FinishReason.LENGTH),
        blocks=TokenBlocks(hasher, identity, prompt, digests, continuation),
        max_tokens=100,
        inbox=Inbox(),
        siblings=Siblings(1, 1),
        wake_every=1,
        **fields,
    )


def rebuilt(event: dict[str, Any]) -> tuple[EngineEvent, Generation]:
    """What the engine model would have told, and of whom."""
    if event["type"] == "BlockRemoved":
        return KvRemoved(0, tuple(event["block_hashes"])), generation([])
    name, first_keys = event["lora_name"], event["extra_keys"][0]
    identity = BlockIdentity(
        adapter=name,
        adapter_path=f"{LORA_ROOT}/{name}",
        cache_salt=first_keys[0] if first_keys and not name else None,
    )
    owner = generation(event["token_ids"], identity, adapter_id=event["lora_id"])
    return KvStored("r", 0, 0, tuple(event["block_hashes"]), None), owner


def test_recorded_batches_are_reproduced_to_the_byte(
    recorded_batches: list[dict[str, Any]],
) -> None:
    for batch in recorded_batches:
        payload = bytes.fromhex(batch["payload_hex"])
        ts, (recorded,), _ = msgspec.msgpack.decode(payload)
        event, owner = rebuilt(recorded)
        assert encode_batch(ts, event_maps([event], {"r": owner}, BLOCK)) == payload


def test_blocks_of_generated_tokens_carry_those_tokens_and_their_parent() -> None:
    owner = generation([5] * 40)
    hashes = [owner.blocks.hash_of(index) for index in range(3)]
    event = KvStored("r", 0, 1, tuple(hashes[1:]), hashes[0])
    (stored,) = event_maps([event], {"r": owner}, BLOCK)
    answer = owner.continuation.upto(56)
    assert stored["token_ids"] == [5] * 8 + answer[:56]
    assert stored["parent_block_hash"] == hashes[0]
    assert stored["extra_keys"] == [None, None]


def test_a_session_is_named_only_where_there_is_one() -> None:
    event = KvStored("r", 0, 0, (1,), None)
    (without,) = event_maps([event], {"r": generation([5] * BLOCK)}, BLOCK)
    (named,) = event_maps([event], {"r": generation([5] * BLOCK, session_id="s-1")}, BLOCK)
    assert "session_id" not in without
    assert list(named)[-1] == "session_id"
    assert named["session_id"] == "s-1"


def test_every_eviction_is_an_event_of_its_own_and_tokens_are_none() -> None:
    events: list[EngineEvent] = [KvCleared(0), KvRemoved(0, (1, 2)), TokenEmitted("r", 0, 0)]
    maps = event_maps(events, {}, BLOCK)
    assert [event["type"] for event in maps] == ["AllBlocksCleared", "BlockRemoved", "BlockRemoved"]
    assert [event.get("block_hashes") for event in maps] == [None, [1], [2]]


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("tcp://*:5557", True),
        ("tcp://[::]:5557", True),
        ("ipc:///run/kv", True),
        ("inproc://kv", True),
        ("tcp://127.0.0.1:5557", False),
        ("tcp://router:5557", False),
    ],
)
def test_the_publisher_binds_where_vllm_binds(endpoint: str, expected: bool) -> None:
    assert binds(endpoint) is expected
