"""Which blocks each request holds, counted: `headway_sim.engine.kv_cache` over extents."""

from functools import partial

from headway_sim.engine.config import EngineConfig
from headway_sim.engine.facts import KvCleared, KvRemoved, KvStored
from headway_sim.engine.kv_cache import Bookkeeping
from headway_sim.engine.sequence import Sequence
from headway_sim.fast_forward.extents import ExtentPool
from headway_sim.fast_forward.runs import Hit, Table


class ExtentCache(Bookkeeping):
    """Block tables over a pool of extents.  All lengths are in tokens unless they say blocks."""

    def __init__(self, config: EngineConfig, *, tells: bool) -> None:
        """``tells``: make events of what is stored and evicted."""
        super().__init__(config.block_tokens)
        self.tells = tells
        self.refused: Hit | None = None
        """What the request that was refused last would have found."""
        self._pool = ExtentPool(
            config.num_blocks,
            config.host_blocks,
            unhashed_free_to_front=config.unhashed_free_to_front,
        )
        self._tables: dict[Sequence, Table] = {}

    @property
    def pool(self) -> ExtentPool:
        return self._pool

    @property
    def has_news(self) -> bool:
        """There is something to publish."""
        return bool(self._unpublished)

    def longest_hit(self, sequence: Sequence) -> Hit:
        """Cached leading blocks, without the last token: its logits must be computed anyway."""
        limit = min((sequence.tokens - 1) // self._block_tokens, sequence.hashable_blocks)
        return self._pool.longest_hit(sequence.hash_of, limit)

    def admit(self, sequence: Sequence, hit: Hit, end: int, *, must_fit: int) -> bool:
        """Give a request that holds nothing the ``hit`` and room up to token ``end``.

        Refuses, changing nothing, if ``must_fit`` tokens do not fit now.  More than ``end``
        tokens are only checked, not reserved.
        """
        found = hit.blocks
        if self._blocks(must_fit) - found + hit.unused() > self._pool.free_blocks:
            self.refused = hit
            return False
        self._tables[sequence] = table = Table(sequence)
        self._pool.touch(table, hit)
        sequence.capacity = found * self._block_tokens
        self._count_registered(sequence, found)
        self._take(sequence, self._blocks(end) - found)
        self.register(sequence, end)
        return True

    def extend(self, sequence: Sequence, end: int) -> bool:
        """Give a running request room up to token ``end``; False, changing nothing: it lacks."""
        need = self.lacks(sequence, end)
        if need > self._pool.free_blocks:
            return False
        self._take(sequence, need)
        return True

    def lacks(self, sequence: Sequence, end: int) -> int:
        """Blocks that a running request needs for ``end`` tokens beside those it holds."""
        return self._blocks(end) - sequence.capacity // self._block_tokens

    def register(self, sequence: Sequence, end: int) -> None:
        """Let others find the blocks that the first ``end`` tokens fill, as far as known."""
        known = min(end, sequence.tokens)
        if known < sequence.next_full:
            return
        first = sequence.registered
        full = min(known // self._block_tokens, sequence.hashable_blocks)
        self._pool.register(self._tables[sequence], first, full, sequence.hash_of)
        self._count_registered(sequence, full)
        if self.tells:
            self._unpublished.append(
                partial(
                    KvStored,
                    sequence.request.request_id,
                    first_index=first,
                    hashes=tuple(map(sequence.hash_of, range(first, full))),
                    parent_hash=sequence.hash_of(first - 1) if first else None,
                )
            )

    def release(self, sequence: Sequence) -> None:
        """Take its blocks away; what is registered stays findable until it is evicted."""
        unhashed = sequence.capacity // self._block_tokens - sequence.registered
        self._pool.release(self._tables.pop(sequence), unhashed)
        sequence.capacity = 0
        self._count_registered(sequence, 0)

    def hold(self, sequence: Sequence, tokens: int) -> None:
        """Room for ``tokens`` was taken for it with `take`."""
        sequence.capacity = self._blocks(tokens) * self._block_tokens

    def let_grow(self, sequence: Sequence) -> bool:
        """Enter the blocks that it fills when somebody looks, from now on; False: impossible."""
        return self._pool.let_grow(self._tables[sequence], sequence.registered)

    def stop_growing(self, sequence: Sequence) -> None:
        """Enter what it has filled by now.  Without effect if it does not grow."""
        entered = self._pool.stop_growing(self._tables[sequence])
        if entered is not None:
            self._count_registered(sequence, entered)

    def disturbed(self) -> list[Sequence]:
        """Those that had to stop growing since the last call."""
        found = []
        for table, entered in self._pool.disturbed:
            self._count_registered(table.owner, entered)
            found.append(table.owner)
        self._pool.disturbed.clear()
        return found

    def clear(self) -> bool:
        """Forget all content, if no request holds any; return whether that was done."""
        cleared = self._pool.forget_everything()
        if cleared and self.tells:
            self._unpublished.append(KvCleared)
        return cleared

    def _take(self, sequence: Sequence, count: int) -> None:
        self.take(count)
        sequence.capacity += count * self._block_tokens

    def take(self, count: int) -> None:
        """Take blocks for whoever accounts for them."""
        if not self.tells:
            self._pool.take(count)
            return
        evicted: list[int] = []
        self._pool.take(count, evicted)
        if evicted:
            self._unpublished.append(partial(KvRemoved, hashes=tuple(evicted)))
