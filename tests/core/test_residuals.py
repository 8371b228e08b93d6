"""The distribution of observed / predicted, and the probability read from it."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_core.estimate.residuals import MIN_SAMPLES, WINDOW, Residuals

ratios = st.lists(st.floats(0, 10), min_size=MIN_SAMPLES, max_size=40)


def learned(observed: list[float]) -> Residuals:
    residuals = Residuals()
    for ratio in observed:
        residuals.learn(1.0, ratio)
    return residuals


def test_without_samples_the_probability_is_a_step_at_the_estimate() -> None:
    residuals = learned([9.0] * (MIN_SAMPLES - 1))
    assert residuals.probability_within(1.0, 1.0) == 1.0
    assert residuals.probability_within(1.001, 1.0) == 0.0


@given(ratios, st.floats(0.001, 100), st.floats(0.001, 100))
def test_the_probability_is_the_share_of_those_that_would_have_kept_the_limit(
    observed: list[float], predicted_s: float, limit_s: float
) -> None:
    share = sum(ratio <= limit_s / predicted_s for ratio in observed) / len(observed)
    assert learned(observed).probability_within(predicted_s, limit_s) == share


@pytest.mark.parametrize("limit_s", [0.0, -1.0])
def test_a_limit_that_has_passed_is_met_by_nobody(limit_s: float) -> None:
    assert Residuals().probability_within(0.0, limit_s) == 0.0


def test_only_the_latest_count_and_memory_is_bounded() -> None:
    residuals, rng = Residuals(), Random(1)
    for _ in range(3 * WINDOW):
        residuals.learn(1.0, 5.0 + rng.random())
    for _ in range(WINDOW):
        residuals.learn(1.0, 0.5)
    assert len(residuals) == WINDOW
    assert residuals.probability_within(1.0, 0.5) == 1.0


def test_a_prediction_of_zero_is_no_division_by_zero() -> None:
    residuals = learned([1.0] * MIN_SAMPLES)
    residuals.learn(0.0, 1.0)
    assert residuals.probability_within(0.0, 1.0) > 0.9
