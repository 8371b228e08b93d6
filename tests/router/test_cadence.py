from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest

from headway_core.facts import EndpointId
from headway_router.endpoints.cadence import JITTER, Cadence, Schedule

CADENCE = Cadence(min_s=0.1, max_s=2.0)
Predicate = Callable[[EndpointId], bool]


def _idle(_: EndpointId) -> bool:
    return False


def _run(
    schedule: Schedule,
    until_s: float,
    *,
    since_s: float = 0.0,
    has_leases: Predicate = _idle,
    changed: Predicate = _idle,
) -> list[tuple[float, EndpointId]]:
    """Ask at every tick what is due; a scrape ends at once."""
    scrapes = []
    now = since_s
    while now < until_s:
        for endpoint_id in schedule.start_due(now, has_leases):
            scrapes.append((now, endpoint_id))
            active = has_leases(endpoint_id) or changed(endpoint_id)
            schedule.ended(endpoint_id, now, active=active)
        now += CADENCE.tick_s
    return scrapes


def _schedule(*endpoint_ids: EndpointId, cadence: Cadence = CADENCE) -> Schedule:
    schedule = Schedule(cadence, Random(1))
    schedule.replace(endpoint_ids, 0.0)
    return schedule


@pytest.mark.parametrize(
    ("last_s", "active", "endpoints", "expected_s"),
    [
        (2.0, True, 1, 0.1),
        (0.1, False, 1, 0.2),
        (1.6, False, 1, 2.0),
        (0.1, True, 8, 0.4),
        (0.1, True, 1000, 4.0),
    ],
    ids=[
        "active: the least",
        "idle: doubles",
        "idle: up to the bound",
        "many: the common rate",
        "very many: still fresh",
    ],
)
def test_the_interval(last_s: float, active: bool, endpoints: int, expected_s: float) -> None:
    assert CADENCE.interval_s(last_s, active=active, endpoints=endpoints) == expected_s


def test_an_idle_endpoint_is_read_about_every_two_seconds() -> None:
    scrapes = [at for at, _ in _run(_schedule("a"), 60.0)]
    gaps = [b - a for a, b in pairwise(scrapes)]
    assert all(2.0 * (1 - JITTER) - 0.1 <= gap <= 2.0 * (1 + JITTER) + 0.1 for gap in gaps[5:])
    assert len(set(gaps[5:])) > 1


@pytest.mark.parametrize("why", ["has_leases", "changed"])
def test_an_active_endpoint_is_read_about_every_tenth_of_a_second(why: str) -> None:
    always: dict[str, Predicate] = {why: lambda _: True}
    scrapes = _run(_schedule("a"), 10.0, **always)  # type: ignore[arg-type]
    assert 80 <= len(scrapes) <= 110


def test_a_lease_ends_the_slow_interval_at_once() -> None:
    schedule = _schedule("a")
    slow = _run(schedule, 10.0)[-1][0]
    resumed = _run(schedule, 11.0, since_s=slow + 0.3, has_leases=lambda _: True)
    assert resumed[0] == (slow + 0.3, "a")


def test_an_endpoint_is_not_read_twice_at_a_time() -> None:
    schedule = _schedule("a")
    assert schedule.start_due(1.0, _idle) == ["a"]
    assert schedule.start_due(100.0, lambda _: True) == []


def test_a_thousand_busy_endpoints_share_one_rate() -> None:
    cadence = Cadence(scrapes_per_s=250.0)
    schedule = _schedule(*(f"e{i}" for i in range(1000)), cadence=cadence)
    _run(schedule, 5.0, has_leases=lambda _: True)
    scrapes = _run(schedule, 25.0, since_s=5.0, has_leases=lambda _: True)
    assert len(scrapes) == pytest.approx(20 * 250, rel=0.1)
    assert len({endpoint_id for _, endpoint_id in scrapes}) == 1000


def test_endpoints_come_and_go() -> None:
    schedule = _schedule("a", "b")
    schedule.replace(["b", "c"], 5.0)
    assert {e for _, e in _run(schedule, 10.0, since_s=5.0)} == {"b", "c"}
    schedule.ended("a", 10.0, active=True)
    assert "a" not in schedule


def test_one_that_stays_keeps_its_turn() -> None:
    schedule = _schedule("a")
    last, _ = _run(schedule, 20.0)[-1]
    schedule.replace(["a", "b"], last)
    soon = _run(schedule, last + 1.0, since_s=last + CADENCE.tick_s)
    assert {e for _, e in soon} == {"b"}
