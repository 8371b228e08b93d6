"""Block hashes: vLLM's own, for both algorithms and every kind of extra key."""

import pickle
from array import array
from typing import Any

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_engine import cbor
from headway_engine.block_hashes import BlockHasher, BlockIdentity, low64

ROOT_OF_ADAPTERS = "/srv/vllm/lora"


@pytest.mark.parametrize(
    ("algorithm", "token", "expected"),
    [
        ("sha256", 9, 16913342419363444410),
        ("sha256", 19, 516980982324207911),
        ("sha256_cbor", 9, 3764199312750953101),
    ],
)
def test_a_block_has_the_hash_of_the_test_vector(algorithm: str, token: int, expected: int) -> None:
    hasher = BlockHasher(32, algorithm)
    (digest,) = hasher.extend(hasher.root(), [token] * 32, 0, BlockIdentity())
    assert low64(digest) == expected


def test_the_root_is_the_hash_of_the_fixed_seed() -> None:
    assert BlockHasher(32).root().hex().endswith("105ae6b4f0d71198")


def test_all_recorded_hashes_are_reproduced(recorded_batches: list[dict[str, Any]]) -> None:
    hasher = BlockHasher(32)
    checked = 0
    for batch in recorded_batches:
        _, events, _ = msgspec.msgpack.decode(bytes.fromhex(batch["payload_hex"]))
        for event in events:
            if event["type"] != "BlockStored":
                continue
            name, first_keys = event["lora_name"], event["extra_keys"][0]
            identity = BlockIdentity(
                adapter=name,
                adapter_path=f"{ROOT_OF_ADAPTERS}/{name}",
                cache_salt=first_keys[0] if first_keys and not name else None,
            )
            chain = hasher.extend(hasher.root(), event["token_ids"], 0, identity)
            assert [low64(digest) for digest in chain] == event["block_hashes"]
            checked += len(chain)
    assert checked == 15


def test_only_full_blocks_have_a_hash() -> None:
    hasher = BlockHasher(4)
    chain = hasher.extend(hasher.root(), list(range(11)), 0, BlockIdentity())
    assert chain == hasher.extend(hasher.root(), list(range(8)), 0, BlockIdentity())


def test_a_chain_can_be_continued_where_it_ended() -> None:
    hasher, identity = BlockHasher(4), BlockIdentity(adapter="sql", adapter_path="/sql")
    whole = hasher.extend(hasher.root(), list(range(16)), 0, identity)
    tail = hasher.extend(whole[1], list(range(8, 16)), 2, identity)
    assert whole[2:] == tail


def test_salt_and_adapter_are_published_by_value_in_this_order() -> None:
    identity = BlockIdentity(adapter="sql", adapter_path="/sql", cache_salt="s")
    assert identity.published_keys(0) == ["sql", "s"]
    assert identity.published_keys(1) == ["sql"]
    assert BlockIdentity().published_keys(0) is None


def test_the_path_of_an_adapter_counts_although_it_is_not_published() -> None:
    hasher = BlockHasher(4)
    chains = [
        hasher.extend(
            hasher.root(), [1, 2, 3, 4], 0, BlockIdentity(adapter="sql", adapter_path=path)
        )
        for path in ("/a", "/b")
    ]
    assert chains[0] != chains[1]


def test_the_seed_of_the_environment_replaces_the_fixed_one() -> None:
    assert BlockHasher(4, seed="7").root() != BlockHasher(4).root()


VALUES = st.recursive(
    st.none() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=300) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=30),
    max_leaves=40,
)


@given(VALUES)
def test_cbor_is_the_canonical_one(value: Any) -> None:
    assert cbor.dumps(value) == cbor2.dumps(value, canonical=True)


def test_cbor_writes_tuples_as_arrays_and_refuses_what_it_does_not_know() -> None:
    assert cbor.dumps((1, (2,))) == cbor2.dumps([1, [2]])
    with pytest.raises(TypeError):
        cbor.dumps(True)
    with pytest.raises(OverflowError):
        cbor.dumps(2**64)


def test_the_pickle_of_a_block_is_that_of_plain_integers() -> None:
    hasher = BlockHasher(2)
    from_list = hasher.extend(hasher.root(), [7, 70_000], 0, BlockIdentity())
    from_array = hasher.extend(hasher.root(), array("I", [7, 70_000]), 0, BlockIdentity())
    assert from_list == from_array
    assert pickle.dumps((7,), protocol=5) == pickle.dumps(tuple(array("I", [7])), protocol=5)
