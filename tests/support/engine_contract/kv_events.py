"""KV events over ZMQ as a subscriber sees them, and the block hashes that vLLM 0.32 computes.

    root   = H("vllm-none-hash")
    hash_i = H((hash_{i-1}, tokens of block i, extra keys of block i))      full blocks only
    event  = low 64 bits of hash_i
    H      = sha256 of pickle.dumps(x, protocol=5)            algorithm "sha256"
             sha256 of cbor2.dumps(x, canonical=True)         algorithm "sha256_cbor"

Extra keys: None, or (("cache_salt", salt),) on the first block of a salted request, or
(("lora", name, path),) on every block of a request to an adapter.
"""

import asyncio
import hashlib
import pickle
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import cbor2
import msgspec
import zmq
import zmq.asyncio

from engine_contract.client import POLL_S, Client
from engine_contract.servers import BLOCK_TOKENS

SEED = "vllm-none-hash"
END_OF_REPLAY = -1
WAIT_S = 120.0
"""Ends a test that would wait for ever; no event takes as long."""

REPLAY_S = 10.0
"""After so long a replay is asked for again: vLLM drops what a reader is too slow to take."""

_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "sha256": lambda value: pickle.dumps(value, protocol=5),
    "sha256_cbor": lambda value: cbor2.dumps(value, canonical=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one engine step changed in the cache."""

    topic: str
    sequence: int
    time_s: float
    events: tuple[dict[str, Any], ...]
    dp_rank: int


def decoded(frames: Sequence[bytes]) -> Batch:
    """A batch from topic, 8-byte sequence and payload; refuses any other layout."""
    topic, sequence, payload = frames
    if len(sequence) != 8:
        raise ValueError(f"the sequence number must have 8 bytes, got {sequence!r}")
    time_s, events, dp_rank = msgspec.msgpack.decode(payload)
    return Batch(
        topic=topic.decode(),
        sequence=int.from_bytes(sequence, "big", signed=True),
        time_s=time_s,
        events=tuple(events),
        dp_rank=dp_rank,
    )


async def replayed(
    context: zmq.asyncio.Context, endpoint: str, first: int
) -> tuple[list[Batch], list[bytes]]:
    """All kept batches from sequence ``first`` on, and the frames of the end marker."""
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.rcvhwm = 0
    with socket:
        socket.connect(endpoint)
        await socket.send_multipart([b"", first.to_bytes(8, "big")])
        batches: list[Batch] = []
        while True:
            empty, *frames = await socket.recv_multipart()
            if empty != b"":
                raise ValueError(f"a replay starts with an empty frame, got {empty!r}")
            if int.from_bytes(frames[1], "big", signed=True) == END_OF_REPLAY:
                return batches, [empty, *frames]
            batches.append(decoded(frames))


class EventLog:
    """All batches of one server, read by replay, so that nothing is missed."""

    def __init__(
        self,
        context: zmq.asyncio.Context,
        replay_endpoint: str,
        client: Client,
        fresh_prompt: Callable[[int], list[int]],
    ) -> None:
        self._context = context
        self._replay_endpoint = replay_endpoint
        self._client = client
        self._fresh_prompt = fresh_prompt

    async def since(self, first: int) -> list[Batch]:
        """All batches from sequence ``first`` on.  Raises: TimeoutError: if some are missing."""
        async with asyncio.timeout(WAIT_S):
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(REPLAY_S):
                        batches, _ = await replayed(self._context, self._replay_endpoint, first)
                    if [b.sequence for b in batches] == list(range(first, first + len(batches))):
                        return batches

    async def mark(self) -> int:
        """The sequence number of the next batch.

        The engine answers before it publishes, so the last batch is known only by its prompt.
        """
        prompt = self._fresh_prompt(BLOCK_TOKENS)
        await self._client.complete(prompt, max_tokens=1)
        async with asyncio.timeout(WAIT_S):
            while True:
                for batch in await self.since(0):
                    if any(event.get("token_ids") == prompt for event in batch.events):
                        return batch.sequence + 1
                await asyncio.sleep(POLL_S)

    async def stored(self, first: int, blocks: int) -> list[dict[str, Any]]:
        """``BlockStored`` events from batch ``first`` on, once they hold so many blocks."""
        async with asyncio.timeout(WAIT_S):
            while True:
                batches = await self.since(first)
                events = [e for b in batches for e in b.events if e["type"] == "BlockStored"]
                if sum(len(event["block_hashes"]) for event in events) >= blocks:
                    return events
                await asyncio.sleep(POLL_S)


def block_hashes(
    tokens: Sequence[int],
    *,
    block_tokens: int,
    algorithm: str,
    salt: str | None = None,
    adapter: tuple[str, str] | None = None,
) -> list[int]:
    """The published hashes of a prompt's full blocks; ``adapter`` is a name and its path."""
    encode = _ENCODERS[algorithm]

    def digest(value: Any) -> bytes:
        return hashlib.sha256(encode(value)).digest()

    parent = digest(SEED)
    hashes = []
    for start in range(0, len(tokens) - block_tokens + 1, block_tokens):
        block = tuple(tokens[start : start + block_tokens])
        extra: tuple[tuple[str, ...], ...] = (("lora", *adapter),) if adapter else ()
        if salt is not None and start == 0:
            extra += (("cache_salt", salt),)
        parent = digest((parent, block, extra or None))
        hashes.append(int.from_bytes(parent[-8:], "big"))
    return hashes
