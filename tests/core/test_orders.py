"""Who goes first in a held queue, by hand-made cases."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_core.policy import QueueOrder
from headway_core.queueing.orders import is_late, ordered_by
from headway_core.testing import a_tracked
from headway_core.tracking import Tracked


def first(order: QueueOrder, entries: Sequence[Tracked], now: float = 1.0) -> str:
    return min(entries, key=ordered_by(order, now)).request_id


SHORT = a_tracked("short", tokens=100, arrived=0.5, ttft_s=9.0)
OLD = a_tracked("old", tokens=1000, arrived=0.0, ttft_s=9.0)
HIT = a_tracked("hit", tokens=500, hit_tokens=800, arrived=0.5, ttft_s=9.0)
URGENT = a_tracked("urgent", tokens=2000, arrived=0.5, ttft_s=1.0)


@pytest.mark.parametrize(
    ("order", "winner"),
    [
        (QueueOrder.FCFS, "old"),
        (QueueOrder.HIT_FIRST, "hit"),
        (QueueOrder.SRPT, "short"),
        (QueueOrder.EDF, "urgent"),
        (QueueOrder.TRIAGE, "short"),
    ],
)
def test_each_order_has_its_own_first(order: QueueOrder, winner: str) -> None:
    assert first(order, [OLD, HIT, URGENT, SHORT]) == winner


@pytest.mark.parametrize("order", list(QueueOrder))
def test_a_higher_priority_goes_first_in_every_order(order: QueueOrder) -> None:
    important = a_tracked(
        "important", tokens=9000, arrived=0.9, ttft_s=90.0, priority=1, prefill_s=0.9
    )
    assert first(order, [OLD, HIT, URGENT, SHORT, important]) == "important"


@pytest.mark.parametrize("order", list(QueueOrder))
def test_equals_go_in_the_order_of_arrival(order: QueueOrder) -> None:
    twins = [a_tracked(name, sequence=i) for i, name in enumerate(["first", "second"])]
    assert first(order, twins[::-1]) == "first"


def test_triage_lets_age_make_up_for_length() -> None:
    """tokens / (1 + age / ttft_s): as old as its target, it counts half."""
    long = a_tracked("long", tokens=1000, arrived=0.0, ttft_s=10.0)
    newcomers = [
        a_tracked("shorter", tokens=499, arrived=10.0, ttft_s=10.0),
        a_tracked("longer", tokens=501, arrived=10.0, ttft_s=10.0),
    ]
    assert first(QueueOrder.TRIAGE, [long, newcomers[0]], now=10.0) == "shorter"
    assert first(QueueOrder.TRIAGE, [long, newcomers[1]], now=10.0) == "long"


def test_triage_ages_those_without_a_target_too() -> None:
    long, short = a_tracked("long", tokens=1000), a_tracked("short", tokens=501, arrived=5.0)
    assert first(QueueOrder.TRIAGE, [long, short], now=5.0) == "long"


def test_edf_puts_those_without_a_target_last() -> None:
    assert first(QueueOrder.EDF, [a_tracked("none"), URGENT]) == "urgent"


@pytest.mark.parametrize(
    ("now", "late"),
    [
        pytest.param(3.9, False, id="there is still time for its prefill"),
        pytest.param(3.96, True, id="not with 50 ms for the way"),
    ],
)
def test_a_request_is_late_when_its_prefill_would_not_end_in_time(now: float, late: bool) -> None:
    """Arrived at 0 with a target of 5 s and a prefill of 1 s: it must start by 3.95."""
    assert is_late(a_tracked(ttft_s=5.0, prefill_s=1.0), now) == late


def test_without_a_target_nothing_is_ever_late() -> None:
    assert not is_late(a_tracked(ttft_s=None), 1e9)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 10**6))
def test_a_target_of_zero_is_no_division_by_zero(now: float, arrived: float, tokens: int) -> None:
    entry = a_tracked(tokens=tokens, arrived=min(now, arrived), ttft_s=0.0)
    for order in QueueOrder:
        assert ordered_by(order, now)(entry)[1] <= tokens + now
