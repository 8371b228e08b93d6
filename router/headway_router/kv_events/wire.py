"""KV-cache events off the wire: msgpack of ``[ts, events, dp_rank]``, each event a map or an array.

vLLM sends maps since 0.24 and arrays before; keys and positions that are not known are skipped, and
absent ones are null.  Only what is in the engine's own memory counts: blocks of lower tiers (CPU,
storage) are left out.
"""

from dataclasses import dataclass

import msgspec

_LOW_64 = 2**64 - 1
_DEVICE = frozenset({None, "GPU"})
"""What vLLM calls the engine's own memory, on the CPU build too."""
_SPREAD = 0x9E37_79B9_7F4A_7C15
"""Odd, so that it tells 2**64 groups apart."""


class MalformedEvents(ValueError):
    """A payload is no batch of KV events."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A chain of full blocks, behind ``parent``, or at the start of the prompt if that is None."""

    blocks: tuple[int, ...]
    parent: int | None
    block_tokens: int
    """>= 1."""
    session_id: str | None


@dataclass(frozen=True, slots=True)
class Removed:
    blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cleared:
    """The whole prefix cache was reset."""


KvEvent = Stored | Removed | Cleared

_Hash = int | bytes


class _Batch(msgspec.Struct, array_like=True):
    ts: float
    events: list[msgspec.Raw]


class _Event(msgspec.Struct):
    """Any event as a map."""

    type: str
    block_hashes: list[_Hash] = []
    parent_block_hash: _Hash | None = None
    block_size: int | None = None
    medium: str | None = None
    group_idx: int | None = None
    session_id: str | None = None


class _Tag(msgspec.Struct, array_like=True):
    type: str


class _StoredArray(msgspec.Struct, array_like=True):
    type: str
    block_hashes: list[_Hash]
    parent_block_hash: _Hash | None
    token_ids: msgspec.Raw
    block_size: int
    lora_id: msgspec.Raw = msgspec.Raw()
    medium: str | None = None
    lora_name: msgspec.Raw = msgspec.Raw()
    extra_keys: msgspec.Raw = msgspec.Raw()
    group_idx: int | None = None


class _RemovedArray(msgspec.Struct, array_like=True):
    type: str
    block_hashes: list[_Hash]
    medium: str | None = None
    group_idx: int | None = None


_batch = msgspec.msgpack.Decoder(_Batch)
_event = msgspec.msgpack.Decoder(_Event)
_tag = msgspec.msgpack.Decoder(_Tag)
_stored_array = msgspec.msgpack.Decoder(_StoredArray)
_removed_array = msgspec.msgpack.Decoder(_RemovedArray)


def decode(payload: bytes) -> tuple[KvEvent, ...]:
    """The events of a batch, in order.  Raises: MalformedEvents."""
    try:
        read = [_read(bytes(event)) for event in _batch.decode(payload).events]
    except msgspec.DecodeError as error:
        raise MalformedEvents(str(error)) from error
    return tuple(event for event in read if event is not None)


def _read(raw: bytes) -> KvEvent | None:
    """None: of a type or a memory that does not matter here."""
    event = _event.decode(raw) if _is_map(raw) else _from_array(raw)
    if event.type == "AllBlocksCleared":
        return Cleared()
    if event.type not in ("BlockStored", "BlockRemoved") or event.medium not in _DEVICE:
        return None
    group = event.group_idx or 0
    blocks = tuple(_key(one, group) for one in event.block_hashes)
    if event.type == "BlockRemoved":
        return Removed(blocks)
    if event.block_size is None or event.block_size < 1:
        raise MalformedEvents(f"block_size must be >= 1, got {event.block_size}")
    parent = event.parent_block_hash
    return Stored(
        blocks, None if parent is None else _key(parent, group), event.block_size, event.session_id
    )


def _is_map(raw: bytes) -> bool:
    return raw[0] & 0xF0 == 0x80 or raw[0] in (0xDE, 0xDF)


def _from_array(raw: bytes) -> _Event:
    tag = _tag.decode(raw).type
    match tag:
        case "BlockStored":
            stored = _stored_array.decode(raw)
            return _Event(
                type=tag,
                block_hashes=stored.block_hashes,
                parent_block_hash=stored.parent_block_hash,
                block_size=stored.block_size,
                medium=stored.medium,
                group_idx=stored.group_idx,
            )
        case "BlockRemoved":
            removed = _removed_array.decode(raw)
            return _Event(
                type=tag,
                block_hashes=removed.block_hashes,
                medium=removed.medium,
                group_idx=removed.group_idx,
            )
    return _Event(type=tag)


def _key(block_hash: _Hash, group: int) -> int:
    """The low 64 bits; each group of layers caches the same hash by itself."""
    if isinstance(block_hash, bytes):
        block_hash = int.from_bytes(block_hash[-8:], "big")
    return (block_hash ^ (group * _SPREAD)) & _LOW_64
