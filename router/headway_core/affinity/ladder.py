"""How much of a prompt is hashed to find its endpoints: as little as spreads the load.

A short key keeps all requests with a common beginning together, a long one spreads them.  The
depth is the shallowest rung whose prefix is not *hot* (`routing.md` 8.2, after DualMap):

    share of the last 1,000 requests > 2/n  makes a prefix hot;  below 1/n it cools again

with n endpoints.  A system prompt that everybody sends is hot at every rung that it covers, and
so is passed over by itself.  The rungs are 1,024 x 2^k tokens.
"""

from collections import deque
from collections.abc import Iterator, Sequence

FIRST_RUNG_TOKENS = 1024
RUNGS = 8
WINDOW_REQUESTS = 1000
MIN_REQUESTS = 100
"""Nothing is hot before as many requests have been seen."""


class Ladder:
    """The recent prefixes of one pool.  ``key`` reads, ``record`` learns."""

    def __init__(self) -> None:
        self._window: deque[tuple[tuple[int, int], ...]] = deque()
        self._counts: dict[tuple[int, int], int] = {}
        self._hot: set[tuple[int, int]] = set()

    def key(self, blocks: Sequence[int], block_tokens: int) -> int:
        """The prefix to hash: the block id at the chosen depth; it stands for all before it."""
        return blocks[self.depth(blocks, block_tokens) - 1]

    def depth(self, blocks: Sequence[int], block_tokens: int) -> int:
        """How many blocks to hash.

        A prompt that ends below the rung is hashed as far as it goes.  ``blocks`` is not empty.
        """
        for rung in _rungs(blocks, block_tokens):
            if rung not in self._hot:
                return rung[0]
        return len(blocks)

    def record(self, blocks: Sequence[int], block_tokens: int, endpoints: int) -> None:
        """Count a request of a pool with that many endpoints."""
        entry = tuple(_rungs(blocks, block_tokens))
        self._window.append(entry)
        for rung in entry:
            self._counts[rung] = self._counts.get(rung, 0) + 1
        if len(self._window) > WINDOW_REQUESTS:
            self._forget(self._window.popleft())
        seen = len(self._window)
        for rung in entry:
            share_of_fair = self._counts.get(rung, 0) * endpoints / seen
            if share_of_fair > 2 and seen >= MIN_REQUESTS:
                self._hot.add(rung)
            elif share_of_fair < 1:
                self._hot.discard(rung)

    def _forget(self, entry: tuple[tuple[int, int], ...]) -> None:
        for rung in entry:
            left = self._counts[rung] - 1
            if left:
                self._counts[rung] = left
            else:
                del self._counts[rung]
                self._hot.discard(rung)


def _rungs(blocks: Sequence[int], block_tokens: int) -> Iterator[tuple[int, int]]:
    """(depth in blocks, id of the prefix) of every rung that the prompt reaches.

    Rungs shorter than a block all end at the first block: one rung, to be counted once.
    """
    reached = 0
    for k in range(RUNGS):
        depth = max(1, (FIRST_RUNG_TOKENS << k) // block_tokens)
        if depth > len(blocks):
            return
        if depth > reached:
            yield (depth, blocks[depth - 1])
            reached = depth
