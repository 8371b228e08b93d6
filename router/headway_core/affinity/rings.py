"""Two independent consistent-hash rings: the two endpoints a prefix key belongs to.

Every router computes the same pair from the fleet alone: no shared store, nothing to rebuild
after a restart.  With the walk of ``pair`` a change of one endpoint never moves both candidates
of any key: if both rings map the key to a new endpoint, the walk on the second
ring passes on to the endpoint that owned it before.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Set
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from headway_core.facts import EndpointId

POINTS_PER_WEIGHT = 160
"""Virtual nodes of an endpoint of weight 1: 8 of them spread the keys within about 8 %."""

_MASK = (1 << 64) - 1
_SEEDS = (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)
_POINTS_PER_DIGEST = 8


def mix(key: int, seed: int) -> int:
    """Spread ``key`` over 64 bits (the finalizer of SplitMix64), differently for each seed."""
    x = (key ^ seed) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


@lru_cache(maxsize=8192)
def _points(ring: int, endpoint_id: EndpointId, count: int) -> NDArray[np.uint64]:
    """The first ``count`` points of an endpoint; a larger count only adds to them.

    That prefix property makes a weight which grows in steps as harmless as one that appears.
    """
    digests = b"".join(
        blake2b(f"{ring}|{endpoint_id}|{i}".encode(), digest_size=8 * _POINTS_PER_DIGEST).digest()
        for i in range(-(-count // _POINTS_PER_DIGEST))
    )
    return np.frombuffer(digests, dtype=">u8")[:count].astype(np.uint64)


class _Ring:
    def __init__(self, number: int, weights: Mapping[EndpointId, float]) -> None:
        self._seed = _SEEDS[number]
        names = sorted(weights)
        counts = [max(1, round(POINTS_PER_WEIGHT * weights[name])) for name in names]
        points = [_points(number, name, n) for name, n in zip(names, counts, strict=True)]
        flat = np.concatenate(points) if points else np.empty(0, np.uint64)
        order = np.argsort(flat, kind="stable")
        owner_of = np.repeat(np.arange(len(names)), counts)[order]
        self._points: list[int] = flat[order].tolist()
        self._owners: list[EndpointId] = [names[i] for i in owner_of.tolist()]

    def walk(self, key: int) -> Iterator[EndpointId]:
        """Owners clockwise from ``key``, with repetitions, once around."""
        owners = self._owners
        start = bisect_right(self._points, mix(key, self._seed))
        for i in range(start, start + len(owners)):
            yield owners[i % len(owners)]

    def owner(self, key: int) -> EndpointId:
        i = bisect_right(self._points, mix(key, self._seed))
        return self._owners[i if i < len(self._owners) else 0]


class DualRing:
    """The rings of one pool and role.  ``weights`` are shares of the key space, each > 0."""

    def __init__(self, weights: Mapping[EndpointId, float]) -> None:
        self.weights = dict(weights)
        self._first = _Ring(0, weights)
        self._second = _Ring(1, weights)

    def __len__(self) -> int:
        return len(self.weights)

    def pair(self, key: int, allowed: Set[EndpointId] | None = None) -> tuple[EndpointId, ...]:
        """The two endpoints of ``key``: distinct, fewer only where fewer are allowed.

        ``allowed`` restricts both: a walk passes over the others, so that a key keeps its
        endpoints as far as they are allowed.
        """
        if allowed is None:
            allowed = self.weights.keys()
            if len(allowed) > 2:
                first, second = self._first.owner(key), self._second.owner(key)
                if first != second:
                    return (first, second)
        else:
            allowed = self.weights.keys() & allowed
        if len(allowed) <= 2:  # Without a walk, which would go past all the others to find them.
            return tuple(sorted(allowed))
        first = next(e for e in self._first.walk(key) if e in allowed)
        second = next(e for e in self._second.walk(key) if e in allowed and e != first)
        return (first, second)
