"""KV-cache events as vLLM 0.32 sends them: msgpack of ``[ts, events, dp_rank]``, events as maps.

Keys keep vLLM's order, and those that are absent by default stay absent.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headway_engine.generation import Generation
from headway_sim.engine.facts import EngineEvent, KvCleared, KvRemoved, KvStored

MEDIUM = "GPU"
DP_RANK = 0

_encoder = msgspec.msgpack.Encoder()


def encode_batch(ts: float, events: Sequence[Mapping[str, Any]]) -> bytes:
    """``ts``: Unix seconds."""
    return _encoder.encode([ts, events, DP_RANK])


def event_maps(
    events: Sequence[EngineEvent], owners: Mapping[str, Generation], block_tokens: int
) -> list[dict[str, Any]]:
    """Those of a step's events that are about the cache, in order.

    ``owners``: the requests that the stored blocks belong to, by the engine's name for them.
    """
    maps: list[dict[str, Any]] = []
    for event in events:
        match event:
            case KvStored():
                maps.append(_stored(event, owners[event.request_id], block_tokens))
            case KvRemoved():
                maps += [_removed(block) for block in event.hashes]
            case KvCleared():
                maps.append({"type": "AllBlocksCleared"})
    return maps


def _stored(event: KvStored, owner: Generation, block_tokens: int) -> dict[str, Any]:
    count, identity = len(event.hashes), owner.blocks.identity
    indexes = range(event.first_index, event.first_index + count)
    stored = {
        "type": "BlockStored",
        "block_hashes": event.hashes,
        "parent_block_hash": event.parent_hash,
        "token_ids": owner.blocks.tokens_of(event.first_index, count),
        "block_size": block_tokens,
        "lora_id": owner.adapter_id,
        "medium": MEDIUM,
        "lora_name": identity.adapter,
        "extra_keys": [identity.published_keys(index) for index in indexes],
        "group_idx": 0,
        "kv_cache_spec_kind": "full_attention",
    }
    if owner.session_id is not None:
        stored["session_id"] = owner.session_id
    return stored


def _removed(block_hash: int) -> dict[str, Any]:
    """vLLM tells every eviction by an event of its own."""
    return {"type": "BlockRemoved", "block_hashes": [block_hash], "medium": MEDIUM, "group_idx": 0}
