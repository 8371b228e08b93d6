"""What each endpoint's prefix cache is believed to hold: a mirror of what was sent there.

Per endpoint a bounded LRU of block ids.  A chain is touched tail first, so that its tail is
evicted before its head, as in vLLM; so a block is never held without the
blocks before it, and the predicted hit can be found by bisection.  Corrected by KV events where
an engine sends them, and by the cached tokens that engines report.
"""

from collections import OrderedDict, deque
from collections.abc import Container, Iterator, Sequence
from itertools import islice

from headway_core.facts import EndpointId

DEFAULT_CACHE_TOKENS = 262_144
"""Assumed until the engine's ``cache_config_info`` has been read: an 8B model on 80 GB has more."""

_OVERSHOOT_STEP = 0.98
_RECOVERY_STEP = 1.002
_MIN_SHARE = 0.25


class _Cache:
    __slots__ = ("bit", "cache_tokens", "held", "share")

    def __init__(self, bit: int, cache_tokens: int | None) -> None:
        self.bit = bit
        self.cache_tokens = cache_tokens
        self.held: OrderedDict[int, None] = OrderedDict()
        self.share = 1.0
        """Part of the cache that serves our prefixes, lowered while predictions overshoot."""


class Mirror:
    """The mirrored caches of one pool.

    Beside the LRUs it keeps, for each block, the set of endpoints that hold it, as the bits of
    an integer: the longest hit in the whole pool costs as little as the hit on one endpoint.
    """

    def __init__(self) -> None:
        self._caches: dict[EndpointId, _Cache] = {}
        self._holders: dict[int, int] = {}
        self._by_bit: list[EndpointId | None] = []

    def add(self, endpoint_id: EndpointId, cache_tokens: int | None) -> None:
        """Start with an empty cache; known endpoints keep theirs."""
        if endpoint_id in self._caches:
            return
        bit = self._by_bit.index(None) if None in self._by_bit else len(self._by_bit)
        self._by_bit[bit:] = [endpoint_id, *self._by_bit[bit + 1 :]]
        self._caches[endpoint_id] = _Cache(bit, cache_tokens)

    def remove(self, endpoint_id: EndpointId) -> None:
        self.clear(endpoint_id)
        self._by_bit[self._caches.pop(endpoint_id).bit] = None

    def resize(self, endpoint_id: EndpointId, cache_tokens: int) -> None:
        """Set the capacity that the engine reports; takes effect with the next ``record``."""
        self._caches[endpoint_id].cache_tokens = cache_tokens

    def longest_run(self, blocks: Sequence[int]) -> int:
        """Leading blocks that some endpoint of the pool is believed to hold."""
        return _run(self._holders, blocks, len(blocks))

    def holders(self, block: int, limit: int) -> list[EndpointId]:
        """Up to ``limit`` of those who are believed to hold a block."""
        return list(islice(self._endpoints(self._holders.get(block, 0)), limit))

    def hit_blocks(
        self, endpoint_id: EndpointId, blocks: Sequence[int], at_most: int | None = None
    ) -> int:
        """Leading blocks that the endpoint is believed to hold.

        ``at_most``: the longest run in the pool, where it is known already.
        """
        held = self._caches[endpoint_id].held
        return _run(held, blocks, len(blocks) if at_most is None else at_most)

    def record(self, endpoint_id: EndpointId, blocks: Sequence[int], block_tokens: int) -> None:
        """The prompt with these blocks was sent there, so it will be cached."""
        cache = self._caches[endpoint_id]
        held, mask, holders = cache.held, 1 << cache.bit, self._holders
        if new := [b for b in blocks if b not in held]:
            held.update(dict.fromkeys(new))
            holders.update({b: holders.get(b, 0) | mask for b in new})
        deque(map(held.move_to_end, reversed(blocks)), maxlen=0)
        known = cache.cache_tokens
        capacity = cache.share * (DEFAULT_CACHE_TOKENS if known is None else known)
        excess = len(held) - int(capacity / block_tokens)
        for block in [held.popitem(last=False)[0] for _ in range(excess)]:
            self._drop(mask, block)

    def forget(self, endpoint_id: EndpointId, blocks: Sequence[int]) -> None:
        """The endpoint has evicted these blocks."""
        cache = self._caches[endpoint_id]
        for block in blocks:
            if block in cache.held:
                del cache.held[block]
                self._drop(1 << cache.bit, block)

    def clear(self, endpoint_id: EndpointId) -> None:
        """The endpoint's cache is empty."""
        cache = self._caches[endpoint_id]
        for block in cache.held:
            self._drop(1 << cache.bit, block)
        cache.held.clear()

    def learn(self, endpoint_id: EndpointId, predicted_tokens: int, cached_tokens: int) -> None:
        """Compare a predicted hit with the reported one.

        An engine that caches less than its mirror (others use it too, or blocks stay in use)
        gets a smaller mirror, step by step, down to a quarter; right predictions let it recover.
        """
        cache = self._caches[endpoint_id]
        overshoots = cached_tokens < 0.9 * predicted_tokens
        step = _OVERSHOOT_STEP if overshoots else _RECOVERY_STEP
        cache.share = min(1.0, max(_MIN_SHARE, cache.share * step))

    def _drop(self, mask: int, block: int) -> None:
        if left := self._holders[block] & ~mask:
            self._holders[block] = left
        else:
            del self._holders[block]

    def _endpoints(self, bits: int) -> Iterator[EndpointId]:
        while bits:
            lowest = bits & -bits
            endpoint_id = self._by_bit[lowest.bit_length() - 1]
            if endpoint_id is not None:
                yield endpoint_id
            bits ^= lowest


def _run(held: Container[int], blocks: Sequence[int], at_most: int) -> int:
    """How many leading blocks are held, where none is held without those before it."""
    if not at_most or blocks[0] not in held:
        return 0
    if blocks[at_most - 1] in held:
        return at_most
    low, high = 1, at_most - 1
    while low < high:
        middle = (low + high + 1) // 2
        if blocks[middle - 1] in held:
            low = middle
        else:
            high = middle - 1
    return low
