import json
from pathlib import Path

import msgspec
import pytest

from headway_router.kv_events.wire import Cleared, MalformedEvents, Removed, Stored, decode

RECORDED = Path(__file__).parents[2] / "fixtures" / "vllm-0.32" / "kv_batches.jsonl"


def encoded(*events: object) -> bytes:
    return msgspec.msgpack.encode([1.5, list(events), 0])


def recorded() -> list[bytes]:
    lines = RECORDED.read_text().splitlines()
    return [bytes.fromhex(json.loads(line)["payload_hex"]) for line in lines]


def test_the_recorded_batches_of_a_real_engine() -> None:
    batches = [decode(payload) for payload in recorded()]
    assert batches[0] == (Stored((9854303546903954694,), None, 32, None),)
    assert batches[2] == (
        Stored((14219021978171854968, 8529564791634263767, 14031347536200579035), None, 32, None),
    )
    assert [len(batch) for batch in batches] == [1] * 8
    assert batches[7] == (Removed((9854303546903954694,)),)


def test_maps_and_arrays_say_the_same() -> None:
    as_maps = encoded(
        {
            "type": "BlockStored",
            "block_hashes": [7, 8],
            "parent_block_hash": 6,
            "token_ids": [1] * 32,
            "block_size": 16,
            "medium": "GPU",
            "a_later_field": {"x": [1]},
        },
        {"type": "BlockRemoved", "block_hashes": [7], "medium": "GPU"},
        {"type": "AllBlocksCleared"},
    )
    as_arrays = encoded(
        ["BlockStored", [7, 8], 6, [1] * 32, 16, None, "GPU", None, [None, None], 0, "x", 3, "new"],
        ["BlockRemoved", [7], "GPU", 0, "new"],
        ["AllBlocksCleared"],
    )
    expected = (Stored((7, 8), 6, 16, None), Removed((7,)), Cleared())
    assert decode(as_maps) == decode(as_arrays) == expected


def test_trailing_fields_may_be_missing() -> None:
    events = encoded(["BlockStored", [7], None, [], 16], ["BlockRemoved", [7]])
    assert decode(events) == (Stored((7,), None, 16, None), Removed((7,)))
    assert decode(msgspec.msgpack.encode([1.5, [["BlockRemoved", [7]]]])) == (Removed((7,)),)


def test_the_session_is_read() -> None:
    stored = {"type": "BlockStored", "block_hashes": [7], "block_size": 16, "session_id": "r1"}
    assert decode(encoded(stored)) == (Stored((7,), None, 16, "r1"),)


def test_hashes_of_32_bytes_count_by_their_low_64_bits() -> None:
    digest = bytes(range(32))
    event = {
        "type": "BlockStored",
        "block_hashes": [digest],
        "parent_block_hash": digest,
        "block_size": 1,
    }
    low = int.from_bytes(digest[-8:], "big")
    assert decode(encoded(event)) == (Stored((low,), low, 1, None),)


def test_groups_of_layers_are_told_apart() -> None:
    events = [{"type": "BlockRemoved", "block_hashes": [7], "group_idx": i} for i in (None, 0, 1)]
    none, first, second = decode(encoded(*events))
    assert none == first == Removed((7,))
    assert second != first


@pytest.mark.parametrize("medium", ["CPU", "STORAGE"])
def test_what_leaves_or_enters_a_lower_tier_is_left_out(medium: str) -> None:
    events = [
        {"type": "BlockStored", "block_hashes": [7], "block_size": 16, "medium": medium},
        {"type": "BlockRemoved", "block_hashes": [7], "medium": medium},
        {"type": "SomethingNew", "x": 1},
        ["SomethingNew", 1],
    ]
    assert decode(encoded(*events)) == ()


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\x00", id="no msgpack"),
        pytest.param(msgspec.msgpack.encode({"ts": 1.0}), id="a map as batch"),
        pytest.param(encoded({"no": "type"}), id="no type"),
        pytest.param(encoded(["BlockStored", [7]]), id="required fields missing"),
        pytest.param(encoded({"type": "BlockStored", "block_hashes": ["x"]}), id="wrong hash"),
        pytest.param(encoded({"type": "BlockStored", "block_hashes": [1]}), id="no block size"),
        pytest.param(
            encoded({"type": "BlockStored", "block_hashes": [1], "block_size": 0}), id="size 0"
        ),
        pytest.param(encoded(5), id="a number as event"),
    ],
)
def test_anything_else_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedEvents):
        decode(payload)
