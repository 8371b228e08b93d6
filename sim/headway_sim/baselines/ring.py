"""A plain consistent-hash ring, for baselines that are built on one."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from hashlib import blake2b

from headway_core.affinity.rings import mix
from headway_core.facts import EndpointId


class Ring:
    """``points`` virtual nodes each, placed by BLAKE2b; rings of another ``number`` are unlike."""

    def __init__(self, endpoints: Sequence[EndpointId], points: int, number: int = 0) -> None:
        placed = sorted(
            (_point(f"{number}|{endpoint_id}|{i}"), endpoint_id)
            for endpoint_id in endpoints
            for i in range(points)
        )
        self._seed = _point(f"ring {number}")
        self._points = [point for point, _ in placed]
        self._owners = [endpoint_id for _, endpoint_id in placed]

    def walk(self, key: int) -> Iterator[EndpointId]:
        """Every endpoint once, clockwise from ``key``."""
        start = bisect_right(self._points, mix(key, self._seed))
        seen: set[EndpointId] = set()
        for i in range(len(self._owners)):
            owner = self._owners[(start + i) % len(self._owners)]
            if owner not in seen:
                seen.add(owner)
                yield owner

    def owner(self, key: int) -> EndpointId:
        return next(self.walk(key))


def _point(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")
