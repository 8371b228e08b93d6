"""How deep DualMap hashes a prompt: lazily expanded prefixes (arXiv 2602.06502).

A prefix that many recent requests share is hashed one block deeper from then on.  Two defects of
the released code are kept, as this is what was measured: the parent's observation enters the window
too, which halves it; and the entry that is deleted to shrink is never there.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Sequence

_MASK = (1 << 64) - 1
_FACTOR = 1315423911


def rolling(blocks: Sequence[int]) -> int:
    """``h = (h * 1315423911 + block) mod 2^64``."""
    h = 0
    for block in blocks:
        h = (h * _FACTOR + block) & _MASK
    return h


class HotDetector:
    """Is a prefix's share of the last ``window`` observations at least ``hot_ratio``?"""

    def __init__(self, window: int = 200, hot_ratio: float = 0.0612, min_samples: int = 20) -> None:
        self._hot_ratio = hot_ratio
        self._min_samples = min_samples
        self._size = window
        self._window: deque[int] = deque()
        self._counts: Counter[int] = Counter()

    def observe(self, prefix: int) -> tuple[bool, float]:
        """Count it; returns whether it is hot, and its share."""
        self._window.append(prefix)
        self._counts[prefix] += 1
        if len(self._window) > self._size:
            oldest = self._window.popleft()
            self._counts[oldest] -= 1
            if not self._counts[oldest]:
                del self._counts[oldest]
        share = self._counts[prefix] / len(self._window)
        is_hot = len(self._window) >= self._min_samples and share >= self._hot_ratio
        return is_hot, share


class LazyPrefixes:
    """Per depth an LRU from prefix to the next depth."""

    def __init__(self, detector: HotDetector | None = None, bucket: int = 10_000) -> None:
        self._detector = detector or HotDetector()
        self._bucket = bucket
        self._deeper: dict[int, OrderedDict[int, int]] = {}

    def depth(self, blocks: Sequence[int]) -> int:
        """How many blocks the key has."""
        depth = 1
        while depth <= len(blocks):
            bucket = self._deeper.get(depth)
            prefix = rolling(blocks[:depth])
            if bucket is None or prefix not in bucket:
                return depth
            bucket.move_to_end(prefix)
            depth = bucket[prefix]
        return len(blocks)

    def key(self, blocks: Sequence[int]) -> int:
        """The key of a request that arrives now, which counts for later ones."""
        depth = self.depth(blocks)
        prefix = rolling(blocks[:depth])
        is_hot, _ = self._detector.observe(prefix)
        if is_hot and depth < len(blocks):
            self._put(depth, prefix, depth + 1)
        if depth > 1:
            _, share = self._detector.observe(rolling(blocks[: depth - 1]))
            if share < 0.02:
                self._deeper.get(depth, OrderedDict()).pop(prefix, None)
        return prefix

    def _put(self, depth: int, prefix: int, deeper: int) -> None:
        bucket = self._deeper.setdefault(depth, OrderedDict())
        bucket[prefix] = deeper
        bucket.move_to_end(prefix)
        if len(bucket) > self._bucket:
            bucket.popitem(last=False)
