"""The ramp of a new endpoint's weight."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_core.affinity.warmup import STEPS, WARMUP_S, next_step_s, warm_share


def test_the_share_grows_in_quarters_to_the_whole() -> None:
    ages = [0, 14.9, 15, 29.9, 30, 44.9, 45, 1000]
    assert [warm_share(age) for age in ages] == [0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1.0, 1.0]


def test_a_warm_endpoint_has_no_next_step() -> None:
    assert next_step_s(WARMUP_S * (STEPS - 1) / STEPS) is None


@given(st.floats(0, 2e9, allow_nan=False), st.integers(1, STEPS - 1))
def test_a_step_is_taken_at_its_own_instant_whatever_the_clock_shows(
    joined: float, step: int
) -> None:
    due = joined + step * WARMUP_S / STEPS
    assert warm_share(due - joined) == (1 + step) / STEPS
    later = next_step_s(due - joined)
    assert later is None or joined + later > due


@pytest.mark.parametrize("age_s", [0.0, 7.0, 15.0, 44.0])
def test_the_next_step_lies_ahead(age_s: float) -> None:
    step_s = next_step_s(age_s)
    assert step_s is not None
    assert step_s > age_s
    assert warm_share(step_s) > warm_share(age_s)
