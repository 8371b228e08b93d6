"""How much of a prompt is hashed to find its endpoints: as little as spreads the load.

A short key keeps all requests with a common beginning together, a long one spreads them.  The
depth is the shallowest rung whose prefix is not *hot* (after DualMap, arXiv 2602.06502):

    share of the last 1,000 requests > 2/n  makes a prefix hot;  below 1/n it cools again

with n endpoints.  A system prompt that everybody sends is hot at every rung that it covers, and
so is passed over by itself.  The rungs are 1,024 x 2^k tokens.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

FIRST_RUNG_TOKENS = 1024
RUNGS = 8
WINDOW_REQUESTS = 1000
MIN_REQUESTS = 100
"""Nothing is hot before as many requests have been seen."""


class Ladder:
    """The recent prefixes of one pool.  ``key`` reads, ``record`` learns.

    A prefix is known by the id of its last block, which stands for all before it.
    """

    def __init__(self) -> None:
        self._window: deque[Sequence[int]] = deque()
        self._counts: dict[int, int] = {}
        self._hot: set[int] = set()

    def key(self, blocks: Sequence[int], block_tokens: int) -> int:
        """The prefix to hash."""
        return blocks[self.depth(blocks, block_tokens) - 1]

    def depth(self, blocks: Sequence[int], block_tokens: int) -> int:
        """How many blocks to hash.

        A prompt that ends below the rung is hashed as far as it goes.  ``blocks`` is not empty.
        """
        for depth in _depths(block_tokens):
            if depth > len(blocks):
                break
            if blocks[depth - 1] not in self._hot:
                return depth
        return len(blocks)

    def record(self, blocks: Sequence[int], block_tokens: int, endpoints: int) -> None:
        """Count a request of a pool with that many endpoints."""
        counts, length = self._counts, len(blocks)
        rungs = [blocks[depth - 1] for depth in _depths(block_tokens) if depth <= length]
        self._window.append(rungs)
        for rung in rungs:
            counts[rung] = counts.get(rung, 0) + 1
        if len(self._window) > WINDOW_REQUESTS:
            self._forget(self._window.popleft())
        seen = len(self._window)
        for rung in rungs:
            share_of_fair = counts[rung] * endpoints / seen
            if share_of_fair < 1:
                self._hot.discard(rung)
            elif share_of_fair > 2 and seen >= MIN_REQUESTS:
                self._hot.add(rung)

    @contextmanager
    def supposing(self, blocks: Sequence[int], block_tokens: int, endpoints: int) -> Iterator[None]:
        """As ``record``, but nothing of it is left after the block."""
        is_full = len(self._window) == WINDOW_REQUESTS
        before = self._window[0] if is_full else ()
        touched = {blocks[depth - 1] for depth in _depths(block_tokens) if depth <= len(blocks)}
        touched.update(before)
        counts = {rung: self._counts[rung] for rung in touched if rung in self._counts}
        hot = self._hot & touched
        self.record(blocks, block_tokens, endpoints)
        try:
            yield
        finally:
            self._window.pop()
            if is_full:
                self._window.appendleft(before)
            for rung in touched:
                self._counts.pop(rung, None)
            self._counts.update(counts)
            self._hot = (self._hot - touched) | hot

    def _forget(self, rungs: Sequence[int]) -> None:
        counts = self._counts
        for rung in rungs:
            if counts[rung] > 1:
                counts[rung] -= 1
            else:
                del counts[rung]
                self._hot.discard(rung)


@lru_cache
def _depths(block_tokens: int) -> tuple[int, ...]:
    """The rungs in blocks.  Those shorter than a block all end at the first: one, counted once."""
    depths = (max(1, (FIRST_RUNG_TOKENS << k) // block_tokens) for k in range(RUNGS))
    return tuple(dict.fromkeys(depths))
