from collections.abc import Callable
from pathlib import Path

import pytest

from headway_core.facts import EngineView
from headway_router.endpoints.dialects import engine_view

RECORDED = Path(__file__).parent.parent / "fixtures" / "vllm-0.32" / "metrics"


def _text(*lines: str) -> bytes:
    return "\n".join((*lines, "")).encode()


def test_reads_a_loaded_engine() -> None:
    assert engine_view((RECORDED / "during_load.txt").read_bytes()) == EngineView(
        waiting=5, running=4, kv_usage=0.7638190954773869, kv_cache_tokens=200 * 32
    )


def test_requests_that_wait_for_a_lora_slot_are_no_load() -> None:
    text = (RECORDED / "during_lora.txt").read_bytes()
    assert b'vllm:num_requests_waiting{engine="0",model_name="tiny"} 3.0' in text
    assert engine_view(text).waiting == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("during_load", (5, 4, 6400)),
        ("during_lora", (0, 3, 6400)),
        ("during_priority", (0, 5, 6400)),
        ("after_rejections", (0, 0, 6400)),
        ("nixl_decode", (0, 0, 12800)),
    ],
)
def test_reads_whole_recordings(
    name: str, expected: tuple[int, int, int], shared_file: Callable[[str], Path]
) -> None:
    view = engine_view(shared_file(f"vllm-0.32/metrics/metrics_{name}.txt").read_bytes())
    assert (view.waiting, view.running, view.kv_cache_tokens) == expected


def test_an_older_engine_without_reasons_counts_all_that_wait() -> None:
    text = _text(
        'vllm:num_requests_waiting{model_name="m"} 7.0',
        'vllm:gpu_cache_usage_perc{model_name="m"} 0.5',
    )
    assert engine_view(text) == EngineView(waiting=7, kv_usage=0.5)


def test_what_is_missing_is_unknown_and_zero_is_zero() -> None:
    assert engine_view(b"") == EngineView()
    assert engine_view(_text("vllm:num_requests_running 0.0")) == EngineView(running=0)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "many"])
def test_an_unreadable_value_is_unknown(value: str) -> None:
    assert engine_view(_text(f"vllm:num_requests_running {value}")).running is None


def test_several_engines_behind_one_address_are_added_up() -> None:
    config = 'vllm:cache_config_info{block_size="16",engine="%d",num_gpu_blocks="%d"} 1.0'
    text = _text(
        'vllm:num_requests_running{engine="0"} 1.0',
        'vllm:num_requests_running{engine="1"} 3.0',
        'vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 2.0',
        'vllm:num_requests_waiting_by_reason{engine="0",reason="deferred"} 9.0',
        'vllm:num_requests_waiting_by_reason{engine="1",reason="capacity"} 4.0',
        'vllm:kv_cache_usage_perc{engine="0"} 0.25',
        'vllm:kv_cache_usage_perc{engine="1"} 0.75',
        config % (0, 100),
        config % (1, 300),
    )
    assert engine_view(text) == EngineView(
        waiting=6, running=4, kv_usage=0.5, kv_cache_tokens=400 * 16
    )


def test_one_unreadable_engine_makes_the_sum_unknown() -> None:
    text = _text(
        'vllm:num_requests_running{engine="0"} 1.0', 'vllm:num_requests_running{engine="1"} NaN'
    )
    assert engine_view(text).running is None


@pytest.mark.parametrize(
    "line",
    [
        'vllm:cache_config_info{mamba_block_size="64",block_size="16",num_gpu_blocks="10"} 1.0',
        'vllm:cache_config_info{num_gpu_blocks="10",note="a} b",block_size="16"} 1.0 1795315045',
        r'vllm:cache_config_info{note=",block_size=\"8\"",block_size="16",num_gpu_blocks="10"} 1',
    ],
    ids=["a similar label before", "a brace in a value, a timestamp", "quotes in a value"],
)
def test_labels_are_found_by_their_whole_name(line: str) -> None:
    assert engine_view(_text(line)).kv_cache_tokens == 160


def test_a_cache_that_is_not_sized_yet_is_unknown() -> None:
    line = 'vllm:cache_config_info{block_size="16",num_gpu_blocks="None"} 1.0'
    assert engine_view(_text(line)).kv_cache_tokens is None


def test_a_longer_name_before_the_wanted_one_is_skipped() -> None:
    text = _text(
        "vllm:num_requests_waiting_other 9.0",
        "vllm:num_requests_running 1.0",
        "vllm:num_requests_waiting 2.0",
    )
    assert engine_view(text) == EngineView(waiting=2, running=1)


def test_help_and_type_lines_are_not_values() -> None:
    text = _text(
        "# HELP vllm:num_requests_running 5",
        "# TYPE vllm:num_requests_running gauge",
        'vllm:num_requests_running{engine="0"} 2.0',
    )
    assert engine_view(text).running == 2
