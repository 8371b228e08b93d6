"""Flags: vLLM's names and defaults, and a clear word about what is wrong."""

from typing import Any

import pytest

from headway_cli.engine import parser
from headway_engine.errors import SettingsInvalid
from headway_engine.settings import Flags, resolve
from headway_sim.engine.config import SchedulingPolicy

GPU = "h100-llama-3.1-8b-tp1"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"dilation": 0}, "--dilation: must be a number above 0, got 0"),
        ({"dilation": float("nan")}, "--dilation: must be a number above 0"),
        ({"output_tokens": 0}, "--output-tokens: must be >= 1, got 0"),
        ({"stream_interval": 0}, "--stream-interval: must be >= 1, got 0"),
        ({"profile": "x"}, "--profile: .*'x'"),
        ({"block_size": 0}, "--block-size: .* got 0"),
        ({"max_num_seqs": 0}, "--max-num-seqs: .* got 0"),
        ({"num_gpu_blocks_override": 1}, "--num-gpu-blocks-override: .* got 1"),
        ({"max_model_len": 10**9}, "--max-model-len: .* got 1000000000"),
        ({"scheduling_policy": "lifo"}, "--scheduling-policy: fcfs or priority, got 'lifo'"),
        ({"prefix_caching_hash_algo": "xxhash"}, "--prefix-caching-hash-algo: .* got xxhash"),
        ({"kv_events_config": "{"}, "--kv-events-config: "),
        ({"kv_events_config": '{"x": 1}'}, "--kv-events-config: x: "),
        ({"kv_events_config": '{"buffer_steps": 0}'}, "--kv-events-config: buffer_steps: "),
        ({"lora_modules": ["a=b"]}, "--lora-modules: needs --enable-lora"),
        ({"lora_modules": ["a"], "enable_lora": True}, "--lora-modules: must be name=path"),
        ({"lora_modules": ["{}"], "enable_lora": True}, "--lora-modules: .* needs name and path"),
        ({"max_loras": 0, "enable_lora": True}, "--max-loras: must be >= 1, got 0"),
    ],
)
def test_a_wrong_flag_is_named_with_what_is_allowed(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsInvalid, match=message):
        resolve(Flags(**flags), {})


def test_flags_go_before_the_profile() -> None:
    settings = resolve(Flags(profile=GPU, max_num_seqs=3, scheduling_policy="priority"), {})
    assert settings.engine.max_num_seqs == 3
    assert settings.engine.max_num_batched_tokens == 8192
    assert settings.engine.policy is SchedulingPolicy.PRIORITY


def test_another_block_size_cuts_the_same_memory() -> None:
    small = resolve(Flags(profile=GPU, block_size=16), {}).engine
    large = resolve(Flags(profile=GPU, block_size=64), {}).engine
    assert small.num_blocks // 4 == large.num_blocks


def test_events_need_to_be_switched_on() -> None:
    assert resolve(Flags(kv_events_config='{"topic": "t"}'), {}).kv_events is None
    flag = '{"enable_kv_cache_events": true, "topic": "t"}'
    events = resolve(Flags(kv_events_config=flag), {}).kv_events
    assert events is not None
    assert (events.endpoint, events.topic) == ("tcp://*:5557", "t")


def test_adapters_are_pairs_or_objects() -> None:
    modules = ["sql=/sql", '{"name": "chat", "path": "/chat"}']
    settings = resolve(Flags(lora_modules=modules, enable_lora=True, max_loras=2), {})
    assert settings.adapters == (("sql", "/sql"), ("chat", "/chat"))
    assert settings.max_loras == settings.engine.max_loras == 2


def test_without_lora_there_are_no_slots_to_count() -> None:
    assert resolve(Flags(), {}).max_loras is None


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("true", True), ("0", False)])
def test_routes_that_change_the_server_are_opened_by_the_environment(
    value: str, expected: bool
) -> None:
    environment = {"VLLM_SERVER_DEV_MODE": value, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": value}
    settings = resolve(Flags(), environment)
    assert (settings.dev_mode, settings.runtime_lora) == (expected, expected)


def test_the_hash_seed_of_the_environment_is_used() -> None:
    assert resolve(Flags(), {"PYTHONHASHSEED": "7"}).hash_seed == "7"
    assert resolve(Flags(), {}).hash_seed == "vllm-none-hash"


def test_the_command_line_knows_every_flag_and_what_a_real_server_needs() -> None:
    namespace = vars(parser().parse_args(["--dtype", "float32", "--enforce-eager"]))
    assert Flags.__dataclass_fields__.keys() <= namespace.keys()


def test_the_command_line_has_the_defaults_of_the_settings() -> None:
    namespace = vars(parser().parse_args([]))
    flags = Flags(**{name: namespace[name] for name in Flags.__dataclass_fields__})
    assert flags == Flags()


@pytest.mark.parametrize("flag", ["--unheard-of", "--enable", "--no-such=1"])
def test_an_unknown_flag_ends_the_command(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([flag])
    assert ended.value.code == 2
    assert flag in capsys.readouterr().err
