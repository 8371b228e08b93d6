"""What an engine may be configured with."""

from typing import Any

import pytest

from headway_sim.engine import BATCH_DEFAULTS, EngineConfig, SchedulingPolicy
from headway_sim.errors import InvalidEngineConfig

GOOD: dict[str, Any] = {
    "num_blocks": 129,
    "max_num_seqs": 8,
    "max_num_batched_tokens": 512,
    "max_model_len": 2048,
}


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("num_blocks", 1, ">= 2"),
        ("max_num_seqs", 0, ">= 1"),
        ("max_num_batched_tokens", 0, ">= 1"),
        ("block_tokens", 0, ">= 1"),
        ("max_model_len", 1, ">= 2"),
        ("long_prefill_threshold", -1, ">= 0"),
        ("max_loras", -1, ">= 0"),
        ("host_blocks", -1, ">= 0"),
        ("policy", "lifo", "'fcfs' or 'priority'"),
    ],
)
def test_a_setting_out_of_range_is_named_with_what_is_allowed(
    field: str, value: object, allowed: str
) -> None:
    with pytest.raises(InvalidEngineConfig, match=f"^{field} must be {allowed}.*got {value!r}$"):
        EngineConfig(**(GOOD | {field: value}))


def test_the_longest_request_must_fit_into_the_cache_when_it_is_alone() -> None:
    assert EngineConfig(**GOOD).kv_tokens == 2048
    with pytest.raises(InvalidEngineConfig, match=r"max_model_len must be <= 2032.*got 2048"):
        EngineConfig(**(GOOD | {"num_blocks": 128}))


def test_the_defaults_are_those_of_vllm_0_32() -> None:
    config = EngineConfig(**GOOD)
    assert config.block_tokens == 16
    assert config.prefix_caching
    assert config.async_scheduling
    assert config.reserve_full_prompt
    assert config.unhashed_free_to_front
    assert config.policy is SchedulingPolicy.FCFS
    assert config.long_prefill_threshold == 0


@pytest.mark.parametrize(
    ("accelerator", "tokens", "seqs"),
    [("B200", 16384, 1024), ("H100", 8192, 1024), ("A100", 2048, 256), ("L40S", 2048, 256)],
)
def test_batch_limits_follow_the_accelerator(accelerator: str, tokens: int, seqs: int) -> None:
    defaults = BATCH_DEFAULTS[accelerator]
    assert (defaults.max_num_batched_tokens, defaults.max_num_seqs) == (tokens, seqs)
