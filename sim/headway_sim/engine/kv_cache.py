"""Which blocks each request holds, what of them can be reused, and the events that tell of it.

Blocks enter the prefix cache when they are *scheduled*, before they are computed, so that a
request admitted later in the same step can share them.
"""

from collections.abc import Callable, Sized
from functools import partial
from itertools import islice
from typing import Protocol, TypeVar

from headway_sim.engine.config import EngineConfig
from headway_sim.engine.facts import EngineEvent, KvCleared, KvRemoved, KvStored
from headway_sim.engine.kv_blocks import Block, BlockPool
from headway_sim.engine.sequence import NEVER, Sequence

_Hit = TypeVar("_Hit", bound=Sized)
"""Cached content that a request could start from; its length is in blocks."""


class Usage(Protocol):
    @property
    def usage(self) -> float:
        """Share of the blocks that live requests use."""


class PrefixCache(Protocol[_Hit]):
    """What the scheduler asks of a KV cache: `KvCache`, or another with the same answers."""

    @property
    def pool(self) -> Usage: ...

    def longest_hit(self, sequence: Sequence) -> _Hit: ...

    def admit(self, sequence: Sequence, hit: _Hit, end: int, *, must_fit: int) -> bool: ...

    def extend(self, sequence: Sequence, end: int) -> bool: ...

    def register(self, sequence: Sequence, end: int) -> None: ...

    def release(self, sequence: Sequence) -> None: ...

    def clear(self) -> bool: ...

    def publish(self, at_ns: int) -> list[EngineEvent]: ...


class Bookkeeping:
    """What a KV cache notes in the sequences that it serves, and what it has yet to tell."""

    def __init__(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._unpublished: list[Callable[..., EngineEvent]] = []

    def publish(self, at_ns: int) -> list[EngineEvent]:
        """What changed since the last call, in order, as told at ``at_ns``."""
        events = [event(at_ns=at_ns) for event in self._unpublished]
        self._unpublished.clear()
        return events

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self._block_tokens)

    def _count_registered(self, sequence: Sequence, blocks: int) -> None:
        sequence.registered = blocks
        sequence.next_full = (
            (blocks + 1) * self._block_tokens if blocks < sequence.hashable_blocks else NEVER
        )


class KvCache(Bookkeeping):
    """Block tables over a pool.  All lengths are in tokens unless they say blocks."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config.block_tokens)
        self._pool = BlockPool(
            config.num_blocks,
            host_blocks=config.host_blocks,
            unhashed_free_to_front=config.unhashed_free_to_front,
        )

    @property
    def pool(self) -> BlockPool:
        return self._pool

    def longest_hit(self, sequence: Sequence) -> list[Block]:
        """Cached leading blocks, without the last token: its logits must be computed anyway."""
        limit = (sequence.tokens - 1) // self._block_tokens
        prompt = sequence.request.block_hashes
        if limit <= len(prompt):
            return self._pool.longest_hit(islice(prompt, min(limit, sequence.hashable_blocks)))
        return self._pool.longest_hit(sequence.hashes(limit))

    def admit(self, sequence: Sequence, hit: list[Block], end: int, *, must_fit: int) -> bool:
        """Give a request that holds nothing the ``hit`` and room up to token ``end``.

        Refuses, changing nothing, if ``must_fit`` tokens do not fit now.  More than ``end``
        tokens are only checked, not reserved.
        """
        # A hit block that nobody uses is about to leave the free list as well.
        unused_hits = sum(block.users == 0 for block in hit)
        if self._blocks(must_fit) - len(hit) + unused_hits > self._pool.free_blocks:
            return False
        self._pool.touch(hit)
        sequence.blocks = hit
        self._count_registered(sequence, len(hit))
        self._take(sequence, self._blocks(end) - len(hit))
        self.register(sequence, end)
        return True

    def extend(self, sequence: Sequence, end: int) -> bool:
        """Give a running request room up to token ``end``; False, changing nothing: it lacks."""
        need = self._blocks(end) - len(sequence.blocks)
        if need > self._pool.free_blocks:
            return False
        self._take(sequence, need)
        return True

    def register(self, sequence: Sequence, end: int) -> None:
        """Let others find the blocks that the first ``end`` tokens fill, as far as known."""
        if min(end, sequence.tokens) < sequence.next_full:
            return
        first = sequence.registered
        full = min(min(end, sequence.tokens) // self._block_tokens, sequence.hashable_blocks)
        hashes = tuple(map(sequence.hash_of, range(first, full)))
        for block, block_hash in zip(sequence.blocks[first:full], hashes, strict=True):
            self._pool.register(block, block_hash)
        self._count_registered(sequence, full)
        self._unpublished.append(
            partial(
                KvStored,
                sequence.request.request_id,
                first_index=first,
                hashes=hashes,
                parent_hash=sequence.hash_of(first - 1) if first else None,
            )
        )

    def release(self, sequence: Sequence) -> None:
        """Take its blocks away; what is registered stays findable until it is evicted."""
        self._pool.release(sequence.blocks)
        sequence.blocks = []
        sequence.capacity = 0
        self._count_registered(sequence, 0)

    def clear(self) -> bool:
        """Forget all content, if no request holds any; return whether that was done."""
        cleared = self._pool.forget_everything()
        if cleared:
            self._unpublished.append(KvCleared)
        return cleared

    def _take(self, sequence: Sequence, count: int) -> None:
        taken, evicted = self._pool.take(count)
        sequence.blocks += taken
        sequence.capacity = len(sequence.blocks) * self._block_tokens
        if evicted:
            self._unpublished.append(partial(KvRemoved, hashes=tuple(evicted)))
