"""The kernel: order, and time that does not go back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_sim.errors import TimeRanBackwards
from headway_sim.kernel import NS_PER_S, Kernel, ns_not_before


def test_events_run_by_time_then_priority_then_order_of_scheduling() -> None:
    kernel = Kernel()
    seen: list[object] = []
    kernel.at(20, seen.append, "late")
    kernel.at(10, seen.append, "low", 1)
    kernel.at(10, seen.append, "first")
    kernel.at(10, seen.append, "second")
    kernel.run()
    assert seen == ["first", "second", "low", "late"]
    assert (kernel.now_ns, kernel.events) == (20, 4)


def test_an_event_may_schedule_another_in_the_same_instant() -> None:
    kernel = Kernel()
    seen: list[object] = []
    kernel.at(5, lambda _: kernel.after(0, seen.append, kernel.now_ns))
    kernel.run()
    assert seen == [5]


def test_a_horizon_stops_the_run_and_leaves_the_rest_for_the_next() -> None:
    kernel = Kernel()
    seen: list[object] = []
    kernel.at(5, seen.append, 5)
    kernel.at(15, seen.append, 15)
    kernel.run(until_ns=10)
    assert (seen, kernel.now_ns) == ([5], 10)
    kernel.run()
    assert seen == [5, 15]


def test_nothing_can_be_scheduled_in_the_past() -> None:
    kernel = Kernel()
    kernel.run(until_ns=10)
    with pytest.raises(TimeRanBackwards, match="10 ns"):
        kernel.at(9, print)


@given(st.floats(0, 1e6))
def test_a_deadline_in_seconds_is_reached_at_its_nanosecond_and_not_before(seconds: float) -> None:
    instant = ns_not_before(seconds)
    assert instant / NS_PER_S >= seconds
    assert (instant - 1) / NS_PER_S <= seconds
