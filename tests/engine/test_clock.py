"""Engine time on the wall clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_engine.clock import EngineClock

MS = 1_000_000


class ManualWall:
    def __init__(self) -> None:
        self.now_ns = 17

    def __call__(self) -> int:
        return self.now_ns


def test_dilation_stretches_engine_time() -> None:
    wall = ManualWall()
    clock = EngineClock(4.0, wall)
    wall.now_ns += 8 * MS
    assert clock.now_ns() == 2 * MS
    assert clock.wall_s_until(5 * MS) == pytest.approx(0.012)
    assert clock.wall_s(3 * MS) == pytest.approx(0.012)


def test_what_is_due_is_not_waited_for() -> None:
    wall = ManualWall()
    clock = EngineClock(1.0, wall)
    wall.now_ns += 8 * MS
    assert clock.wall_s_until(3 * MS) == 0


def test_a_stopped_clock_stands_and_goes_on_where_it_was() -> None:
    wall = ManualWall()
    clock = EngineClock(1.0, wall)
    wall.now_ns += 5 * MS
    clock.stop()
    wall.now_ns += 100 * MS
    assert clock.now_ns() == 5 * MS
    assert clock.wall_s_until(6 * MS) is None
    clock.start()
    wall.now_ns += 2 * MS
    assert clock.now_ns() == 7 * MS


def test_starting_a_running_clock_changes_nothing() -> None:
    wall = ManualWall()
    clock = EngineClock(1.0, wall)
    wall.now_ns += 5 * MS
    clock.start()
    assert clock.now_ns() == 5 * MS


ACTIONS = st.lists(
    st.one_of(
        st.integers(0, 10**10).map(lambda ns: ("pass", ns)),
        st.floats(0.1, 100).map(lambda factor: ("straggle", factor)),
        st.sampled_from([("stop", 0), ("start", 0)]),
    ),
    max_size=40,
)


@given(ACTIONS)
def test_engine_time_never_jumps_and_never_runs_backwards(
    actions: list[tuple[str, float]],
) -> None:
    wall = ManualWall()
    clock = EngineClock(1.0, wall)
    for action, amount in actions:
        before_ns = clock.now_ns()
        match action:
            case "pass":
                wall.now_ns += int(amount)
                assert clock.now_ns() >= before_ns
                continue
            case "straggle":
                clock.straggle(amount)
            case "stop":
                clock.stop()
            case "start":
                clock.start()
        assert clock.now_ns() == before_ns
