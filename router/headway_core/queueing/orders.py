"""Which held request goes next.

    FCFS      arrival
    HitFirst  longest cached prefix                           (DualMap)
    SRPT      least prefill work
    EDF       latest start, the hopeless last
    Triage    least prefill work per age, the hopeless last:
              tokens / (1 + age / ttft_s)

A higher priority goes before a lower one in every order.  Past the knee the order matters more
than the choice of the endpoint: serving the hopeless first makes the feasible hopeless too.
"""

from collections.abc import Callable

from headway_core.policy import QueueOrder
from headway_core.tracking import Tracked

Key = tuple[float, ...]

_AGEING_S = 5.0
"""Age that halves the key of a request without an SLO."""


def _fcfs(entry: Tracked, now: float) -> float:
    return entry.arrived


def _hit_first(entry: Tracked, now: float) -> float:
    return -entry.held.hit_tokens if entry.held else 0.0


def _srpt(entry: Tracked, now: float) -> float:
    return entry.held_work.tokens


def _edf(entry: Tracked, now: float) -> float:
    latest = entry.latest_start()
    return float("inf") if latest is None else latest


def _triage(entry: Tracked, now: float) -> float:
    age_s = now - entry.arrived
    return entry.held_work.tokens / (1 + age_s / (entry.ttft_s or _AGEING_S))


_RANK: dict[QueueOrder, Callable[[Tracked, float], float]] = {
    QueueOrder.FCFS: _fcfs,
    QueueOrder.HIT_FIRST: _hit_first,
    QueueOrder.SRPT: _srpt,
    QueueOrder.EDF: _edf,
    QueueOrder.TRIAGE: _triage,
}

SORTS_OUT_LATE = frozenset({QueueOrder.TRIAGE, QueueOrder.EDF})
"""Orders that put requests which cannot meet their SLO any more behind those that can."""

SHORT_FIRST = frozenset({QueueOrder.TRIAGE, QueueOrder.SRPT})
"""Orders in which a request waits, by and large, only for shorter ones."""


def ordered_by(order: QueueOrder, now: float) -> Callable[[Tracked], Key]:
    """The key to sort by, smallest first; ties by arrival."""
    rank = _RANK[order]

    def key(entry: Tracked) -> Key:
        return (-entry.priority, rank(entry, now), entry.sequence)

    return key


def is_late(entry: Tracked, now: float) -> bool:
    """It cannot meet its SLO even if it starts now."""
    latest = entry.latest_start()
    return latest is not None and now > latest
