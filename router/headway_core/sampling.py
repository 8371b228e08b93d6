"""Which responses are read to the end: a few at a time per pool, however many there are.

Reading one costs work per chunk.  A share of the traffic would cost the more, the more there is; a
budget costs the same at any load and still reports many times a second.
"""

LEAST_GAP_S = 0.1
"""From the beginning of one to that of the next of its pool: short responses come thick and fast,
and ten a second say as much as a thousand."""


class SampleBudget:
    """``streams``: of one pool at once; 0 reads none."""

    def __init__(self, streams: int, least_gap_s: float = LEAST_GAP_S) -> None:
        self._streams = streams
        self._least_gap_s = least_gap_s
        self._open: dict[str, int] = {}
        self._due: dict[str, float] = {}

    def take(self, pool: str, now: float) -> bool:
        """May a response of that pool be read?  True: ``give_back`` is owed."""
        if self._open.get(pool, 0) >= self._streams or now < self._due.get(pool, now):
            return False
        self._open[pool] = self._open.get(pool, 0) + 1
        self._due[pool] = now + self._least_gap_s
        return True

    def give_back(self, pool: str) -> None:
        self._open[pool] -= 1
        if not self._open[pool]:
            del self._open[pool]
