"""The ready-made engines: their names, their numbers, and that they run."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from headway_sim.engine import Engine, RequestFinished, TokenEmitted
from headway_sim.errors import InvalidProfile, UnknownName, UnknownProfile
from headway_sim.profiles import PROFILE_NAMES, Constants, Rung, profile
from headway_sim.profiles.deployment import Deployment
from headway_sim.profiles.four_term import FITS
from headway_sim.profiles.library import FOLDER
from headway_sim.profiles.memory import kv_blocks
from headway_sim.profiles.models import MODELS, WeightDtype
from headway_sim.profiles.operator_step import OperatorStep
from headway_sim.profiles.versions import largest_graph, version
from headway_sim.testing import MS, a_request, run_to_end

H100_8B = Deployment(gpu_name="H100", model_name="Llama-3.1-8B")


def test_an_unknown_name_is_answered_with_those_near_it() -> None:
    with pytest.raises(UnknownProfile, match=r"no engine profile 'h100-llama'; near: h100-llama-"):
        profile("h100-llama")


@pytest.mark.parametrize("name", PROFILE_NAMES)
def test_every_profile_makes_an_engine_that_serves(name: str) -> None:
    known = profile(name)
    assert known.name == name
    engine = Engine(known.config, known.step_model)
    engine.submit(a_request("a", 1000, 20, block_tokens=known.config.block_tokens), 0)
    assert isinstance(run_to_end(engine)[-1], RequestFinished)


@pytest.mark.parametrize("gpu", ["a100", "b200", "h100", "h200", "l40s", "rtx-pro-6000"])
@pytest.mark.parametrize(
    "model", ["llama-3.1-8b", "qwen3-14b", "qwen3-32b", "codellama-34b", "mixtral-8x7b"]
)
def test_the_common_models_are_there_on_every_gpu(gpu: str, model: str) -> None:
    assert any(name.startswith(f"{gpu}-{model}-tp") for name in PROFILE_NAMES)


def test_the_newest_engine_takes_the_newest_tables_and_an_old_one_those_before_it() -> None:
    newest, old = profile("h100-llama-3.1-8b-tp1"), profile("h100-llama-3.1-8b-tp1@0.15.1")
    assert newest.step_times.rung is old.step_times.rung is Rung.TABLES
    assert "vLLM 0.24.0" in newest.step_times.source
    assert "vLLM 0.14.0" in old.step_times.source
    assert newest.config.reserve_full_prompt
    assert not old.config.reserve_full_prompt
    assert newest.config.num_blocks > old.config.num_blocks  # 0.92 of the memory, not 0.90


def test_tables_newer_than_the_engine_are_flagged() -> None:
    assert any("newer" in note for note in profile("b200-qwen3-32b-tp1@0.15.1").step_times.notes)
    assert profile("b200-qwen3-32b-tp1").step_times.notes == ()


@pytest.mark.parametrize("version", ["0", "v0.15", "0.15.1.2", "latest", " 0.15"])
def test_a_version_that_is_none_is_refused(version: str) -> None:
    with pytest.raises(InvalidProfile, match="a vLLM version looks like"):
        profile(f"h100-llama-3.1-8b-tp1@{version}")


def test_the_linear_fit_is_a_flagged_rung_of_its_own() -> None:
    known = profile("h100-llama-3.1-8b-tp1-four-term")
    assert known.step_times.rung is Rung.FOUR_TERM
    assert known.api is None
    assert known.with_constants(Constants(step_ms=5.0)) is known


def test_the_linear_fit_and_the_tables_tell_of_the_same_engine() -> None:
    for name in FITS:
        tabled, fitted = profile(name).step_model, profile(f"{name}-four-term").step_model
        for batch in (([], 16, 16_000), ([(1024, 0)], 16, 16_000), ([(2048, 0)], 0, 0)):
            ratio = tabled.step(*batch) / fitted.step(*batch)
            assert 0.7 < ratio < 1.4, (name, batch)


def test_stored_profiles_are_small() -> None:
    sizes = [path.stat().st_size for path in FOLDER.glob("*.npz")]
    assert max(sizes) < 12_000


def test_parameters_are_those_of_the_published_models() -> None:
    assert MODELS["Llama-3.1-8B"].parameters == 8_030_261_248
    assert MODELS["Llama-3.1-70B"].parameters == 70_553_706_496
    assert MODELS["Mixtral-8x7B"].parameters == 46_702_792_704
    assert MODELS["CodeLlama-34B"].parameters == pytest.approx(33.74e9, rel=1e-3)
    assert MODELS["Qwen3-32B"].parameters == pytest.approx(32.76e9, rel=1e-3)


def test_fp8_halves_the_linear_layers_and_nothing_else() -> None:
    shape = MODELS["Llama-3.1-8B"]
    linear = 32 * (4096 * 128 * (64 + 16) + 3 * 4096 * 14336)
    assert shape.weight_bytes(WeightDtype.BF16) == 2 * 8_030_261_248
    assert shape.weight_bytes(WeightDtype.FP8) == 2 * 8_030_261_248 - linear


def test_kv_capacity_of_an_h100_by_hand() -> None:
    # 80 GiB * 0.92 = 79,027,398,246; weights 16,060,522,496; other 3,758,096,384 bytes.
    # A token takes 2 * 32 * 8 * 128 * 2 = 131,072 bytes, a block 16 times that.
    assert H100_8B.shape.kv_bytes_per_token(1) == 131_072
    left = 79_027_398_246 - 16_060_522_496 - 3_758_096_384
    assert kv_blocks(H100_8B, version("0.32")) == left // (16 * 131_072)
    # 80 GiB * 0.90
    left = 77_309_411_328 - 16_060_522_496 - 3_758_096_384
    assert kv_blocks(H100_8B, version("0.15.1")) == left // (16 * 131_072)


def test_tensor_parallelism_splits_weights_and_kv_heads_but_not_below_one_head() -> None:
    shape = MODELS["Llama-3.1-70B"]
    assert shape.kv_bytes_per_token(4) == 2 * 80 * 2 * 128 * 2
    assert shape.kv_bytes_per_token(16) == shape.kv_bytes_per_token(8)


@pytest.mark.parametrize(
    ("of", "problem"),
    [
        ({"gpu_name": "H100", "model_name": "GPT-9"}, "no model 'GPT-9'; known: CodeLlama-34B"),
        ({"gpu_name": "T4", "model_name": "Llama-3.1-8B"}, "no GPU 'T4'; known: A100"),
        (
            {"gpu_name": "H100", "model_name": "Llama-3.1-8B", "tensor_parallel": 3},
            "tensor_parallel must be 1, 2, 4 or 8, got 3",
        ),
        (
            {"gpu_name": "A100", "model_name": "Llama-3.1-8B", "dtype": WeightDtype.FP8},
            "A100 has no FP8 units",
        ),
        (
            {"gpu_name": "H100", "model_name": "Llama-3.1-8B", "expert_parallel": True},
            "Llama-3.1-8B has no experts",
        ),
    ],
)
def test_an_impossible_deployment_is_refused(of: dict[str, object], problem: str) -> None:
    with pytest.raises((InvalidProfile, UnknownName), match=problem):
        Deployment(**of)  # type: ignore[arg-type]


def test_a_model_that_does_not_fit_is_refused() -> None:
    of = Deployment(gpu_name="L40S", model_name="Llama-3.1-70B")
    with pytest.raises(InvalidProfile, match=r"does not fit on 1 x L40S: 141.1 GB of weights"):
        kv_blocks(of, version("0.32"))


def test_graphs_follow_the_number_of_requests() -> None:
    known = profile("h100-llama-3.1-8b-tp1")
    small = known.with_config(replace(known.config, max_num_seqs=16))
    assert isinstance(known.step_model, OperatorStep)
    assert isinstance(small.step_model, OperatorStep)
    assert known.step_model.mode.largest_graph == largest_graph(1024, "H100") == 512
    assert small.step_model.mode.largest_graph == 32
    assert known.with_config(known.config).step_model is known.step_model


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.npz"
    path.write_bytes(b"nothing")
    with pytest.raises(InvalidProfile, match=r"broken\.npz is not a profile"):
        profile("broken.npz", tmp_path)
    with pytest.raises(InvalidProfile, match="no such file"):
        profile("missing.npz", tmp_path)


@pytest.mark.parametrize("name", FITS)
def test_the_coefficients_are_the_fitted_ones(
    name: str, shared_file: Callable[[str], Path]
) -> None:
    fits = json.loads(shared_file("perf/step_coeffs_from_aic_tables.json").read_text())
    known, of = FITS[name], FITS[name].deployment
    size = of.model_name.rpartition("-")[2].lower()
    key = f"{of.gpu.system}|llama3.1-{size}|tp{of.tensor_parallel}|bf16|vllm{known.tables_version}"
    fit = fits[key]
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
