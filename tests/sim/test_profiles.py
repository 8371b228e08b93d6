"""The ready-made engines: their numbers, and that they run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from headway_sim.engine import Engine, RequestFinished, TokenEmitted
from headway_sim.errors import UnknownProfile
from headway_sim.profiles import PROFILE_NAMES, profile
from headway_sim.profiles.memory import LLAMA_3_1_8B, LLAMA_3_1_70B, kv_blocks
from headway_sim.testing import MS, a_request, run_to_end

GPU_PROFILES = [name for name in PROFILE_NAMES if name != "tiny"]


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownProfile, match=r"no engine profile 'h100'; known: .*, tiny$"):
        profile("h100")


@pytest.mark.parametrize("name", PROFILE_NAMES)
def test_every_profile_makes_an_engine_that_serves(name: str) -> None:
    known = profile(name)
    assert known.name == name
    engine = Engine(known.config, known.step_model)
    engine.submit(a_request("a", 1000, 20, block_tokens=known.config.block_tokens), 0)
    assert isinstance(run_to_end(engine)[-1], RequestFinished)


def test_parameters_are_those_of_the_published_models() -> None:
    assert LLAMA_3_1_8B.parameters == 8_030_261_248
    assert LLAMA_3_1_70B.parameters == 70_553_706_496


def test_kv_capacity_of_an_h100_by_hand() -> None:
    # 80 GiB * 0.92 = 79,027,398,246; weights 16,060,522,496; other 3,758,096,384 bytes.
    # A token takes 2 * 32 * 8 * 128 * 2 = 131,072 bytes, a block 16 times that.
    assert LLAMA_3_1_8B.kv_bytes_per_token(1) == 131_072
    assert kv_blocks("H100", LLAMA_3_1_8B, 1) == (
        (79_027_398_246 - 16_060_522_496 - 3_758_096_384) // (16 * 131_072)
    )


def test_tensor_parallelism_splits_weights_and_kv_heads_but_not_below_one_head() -> None:
    assert LLAMA_3_1_70B.kv_bytes_per_token(4) == 2 * 80 * 2 * 128 * 2
    assert LLAMA_3_1_70B.kv_bytes_per_token(16) == LLAMA_3_1_70B.kv_bytes_per_token(8)


@pytest.mark.parametrize("name", GPU_PROFILES)
def test_the_coefficients_are_the_fitted_ones(
    name: str, shared_file: Callable[[str], Path]
) -> None:
    fits = json.loads(shared_file("perf/step_coeffs_from_aic_tables.json").read_text())
    known = profile(name)
    gpu = {"L40S": "l40s", "RTX-PRO-6000": "rtx_pro_6000_server"}.get(
        known.accelerator, f"{known.accelerator.lower()}_sxm"
    )
    version = known.source.partition("vLLM ")[2].partition(",")[0]
    size = known.model.rpartition("-")[2].lower()
    fit = fits[f"{gpu}|llama3.1-{size}|tp{known.tensor_parallel}|bf16|vllm{version}"]
    step = known.step_model
    assert [
        step.alpha_ms,
        step.beta_ms_per_prefill_token,
        step.gamma_ms_per_sequence,
        step.delta_ms_per_kv_token,
    ] == pytest.approx(
        [
            fit["alpha_ms"],
            fit["beta_ms_per_prefill_tok"],
            fit["gamma_ms_per_decode_seq"],
            fit["delta_ms_per_kv_tok"],
        ],
        rel=1e-5,
    )


def test_the_tiny_engine_answers_as_measured() -> None:
    known = profile("tiny")
    engine = Engine(known.config, known.step_model)
    engine.submit(a_request("a", 32, 5, block_tokens=32), 0)
    times_ms = [e.at_ns / MS for e in run_to_end(engine) if isinstance(e, TokenEmitted)]
    assert times_ms == pytest.approx([3.0, 5.2, 7.4, 9.6, 11.8])
