"""What routers' counters say of the last minute.  Pure: time is an argument."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from headway_api.status import Traffic
from headway_proto.v1alpha1 import discovery_pb2 as pb

WINDOW_S = 60.0
WRITE_S = 30.0
"""Between two writes, and only if something has changed by more than ``MATERIAL_PERCENT``."""
PERCENTILE = 95


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    incarnation: str
    traffic: pb.PoolTraffic


@dataclass(slots=True)
class _Sums:
    requests: int = 0
    prompt_tokens: int = 0
    hit_tokens: int = 0
    with_slo: int = 0
    met_slo: int = 0
    bounds: tuple[float, ...] = ()
    counts: list[int] = field(default_factory=list)

    def add(self, now: pb.PoolTraffic, then: pb.PoolTraffic | None) -> None:
        """What was counted in between; ``then`` None: since the process began."""
        for name in ("requests", "prompt_tokens", "hit_tokens", "with_slo", "met_slo"):
            before = 0 if then is None else getattr(then, name)
            setattr(self, name, getattr(self, name) + getattr(now, name) - before)
        bounds = tuple(now.ttft_bounds_seconds)
        self.bounds = self.bounds or bounds
        if bounds == self.bounds:
            before_counts = [0] * len(now.ttft_counts) if then is None else then.ttft_counts
            new = [a - b for a, b in zip(now.ttft_counts, before_counts, strict=True)]
            self.counts = [a + b for a, b in zip(self.counts or [0] * len(new), new, strict=True)]


class TrafficWindow:
    """Reports of the last minute, by router."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str], deque[_Sample]] = {}
        self._written: dict[str, tuple[float, Traffic]] = {}

    def note(self, reports: Mapping[str, pb.ReportRequest], now: float) -> None:
        """``reports``: of the live routers."""
        self._samples = {key: s for key, s in self._samples.items() if key[0] in reports}
        for router_id, report in reports.items():
            for traffic in report.pools:
                samples = self._samples.setdefault((router_id, traffic.uid), deque())
                if not samples or samples[-1].traffic != traffic:
                    samples.append(_Sample(now, report.router.incarnation, traffic))
                while len(samples) > 1 and samples[1].at_s <= now - WINDOW_S:
                    samples.popleft()

    def of(self, pool_uid: str, now: float) -> Traffic | None:
        """To be written now: what was written before, unless it is long ago and has changed."""
        written = self._written.get(pool_uid)
        if written is not None and now - written[0] < WRITE_S:
            return written[1]
        traffic = self._traffic(pool_uid)
        if traffic is None or (written is not None and written[1] == traffic):
            return None if written is None else written[1]
        self._written[pool_uid] = (now, traffic)
        return traffic

    def _traffic(self, pool_uid: str) -> Traffic | None:
        sums, queued, is_known = _Sums(), 0, False
        for (_, uid), samples in self._samples.items():
            if uid != pool_uid:
                continue
            is_known = True
            last, first = samples[-1], samples[0]
            queued += last.traffic.queued_requests
            same = [s for s in samples if s.incarnation == last.incarnation]
            sums.add(last.traffic, first.traffic if first is same[0] else None)
        if not is_known:
            return None
        return Traffic(
            window_seconds=int(WINDOW_S),
            requests=_rounded(sums.requests),
            queued_requests=_rounded(queued),
            cache_hit_percent=_percent(sums.hit_tokens, sums.prompt_tokens),
            ttft_ms=_percentile_ms(sums.bounds, sums.counts),
            slo_attainment_percent=_percent(sums.met_slo, sums.with_slo),
        )


def _rounded(number: int) -> int:
    """To two digits."""
    step = 10 ** max(0, len(str(number)) - 2)
    return int(round(number / step) * step)


def _percent(part: int, whole: int) -> int | None:
    return None if whole <= 0 else max(0, min(100, round(100 * part / whole)))


def _percentile_ms(bounds: Iterable[float], counts: list[int]) -> int | None:
    """Between the bounds of its bucket in proportion; above the last bound, that."""
    total = sum(counts)
    if total <= 0:
        return None
    rank, seen, low = total * PERCENTILE / 100, 0, 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if seen + count >= rank:
            value_s = low + (bound - low) * (rank - seen) / count
            return _rounded(round(1000 * value_s))
        seen, low = seen + count, bound
    return _rounded(round(1000 * low))
