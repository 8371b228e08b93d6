"""What must hold in every run, whatever the policy: counted while it runs, checked at its end.

    arrived = finished + shed + failed + in flight                     (conservation)
    integral of the number in the system over time = sum of sojourns   (Little's law, L = lambda W,
                                                                        times the run's length)

Both are exact, as time is an integer.
"""

from collections import Counter
from collections.abc import Sequence

from headway_sim.errors import BrokenLaw
from headway_sim.world.records import Fate, RequestRecord


class Census:
    """The number of requests in the system, and its integral over time."""

    def __init__(self) -> None:
        self.arrived = 0
        self.present = 0
        self.peak = 0
        self.ended: Counter[Fate] = Counter()
        self._since_ns = 0
        self._area = 0

    def enter(self, now_ns: int) -> None:
        self._pass(now_ns)
        self.arrived += 1
        self.present += 1
        self.peak = max(self.peak, self.present)

    def leave(self, fate: Fate, now_ns: int) -> None:
        self._pass(now_ns)
        self.present -= 1
        self.ended[fate] += 1

    def check(self, records: Sequence[RequestRecord], end_ns: int) -> None:
        """Raises: BrokenLaw."""
        self._pass(end_ns)
        by_fate = Counter(record.fate for record in records)
        if self.arrived != len(records) or self.arrived != self.present + self.ended.total():
            raise BrokenLaw(f"{self.arrived} arrived, {self.present} present, ended {self.ended}")
        if by_fate - self.ended != Counter({Fate.IN_FLIGHT: self.present}) - Counter():
            raise BrokenLaw(f"records say {by_fate}, the census {self.ended}")
        sojourn = sum(_end(record, end_ns) - record.arrived_ns for record in records)
        if sojourn != self._area:
            raise BrokenLaw(f"number in system over time {self._area}, sojourn times {sojourn}")

    def _pass(self, now_ns: int) -> None:
        self._area += self.present * (now_ns - self._since_ns)
        self._since_ns = now_ns


def _end(record: RequestRecord, end_ns: int) -> int:
    if record.fate is Fate.IN_FLIGHT:
        return end_ns
    if record.ended_ns is None:
        raise BrokenLaw(f"request {record.number} is {record.fate} and has no end")
    if record.fate is Fate.FINISHED:
        first_ns, sent_ns = record.first_token_ns, record.sent_ns
        if first_ns is None or sent_ns is None:
            raise BrokenLaw(f"request {record.number} finished without a first token")
        if not record.arrived_ns <= sent_ns <= first_ns <= record.ended_ns:
            raise BrokenLaw(f"request {record.number} went back in time: {record}")
    return record.ended_ns
