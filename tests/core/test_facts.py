"""What is refused where it enters, because the core divides by it."""

import pytest

from headway_core.facts import Capacity, Endpoint, InferenceRequest, Slo


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_is_above_zero_and_finite(weight: float) -> None:
    with pytest.raises(ValueError, match="weight must be > 0 and finite, got"):
        Endpoint(endpoint_id="a", name="a", weight=weight)


@pytest.mark.parametrize("name", ["prefill_tokens_per_s", "kv_cache_tokens", "batch_tokens"])
@pytest.mark.parametrize("value", [0, -5])
def test_a_capacity_is_above_zero(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be > 0 and finite, got {value}"):
        Capacity(**{name: value})


def test_an_unknown_capacity_is_none() -> None:
    assert Capacity().prefill_tokens_per_s is None


def test_a_prompt_is_not_negative() -> None:
    with pytest.raises(ValueError, match="prompt_tokens must be >= 0, got -1"):
        InferenceRequest(request_id="x", requested_model="m", prompt_tokens=-1)


def test_a_block_is_at_least_a_token() -> None:
    with pytest.raises(ValueError, match="block_tokens must be >= 1, got 0"):
        InferenceRequest(request_id="x", requested_model="m", prompt_tokens=1, block_tokens=0)


def test_a_target_grows_with_the_prompt() -> None:
    slo = Slo(ttft_s=2.0, ttft_s_per_1k_tokens=0.5)
    assert slo.ttft_target_s(4_000) == 4.0
