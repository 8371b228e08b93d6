"""``headway profile``."""

import json
from pathlib import Path

import pytest

from headway_cli.profile import main
from headway_sim.profiles import profile


def test_compile_makes_a_profile_that_a_scenario_can_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.npz"
    arguments = ["compile", "--gpu", "h100", "--model", "Qwen3-14B", "--tp", "2", "--out"]
    assert main([*arguments, str(out)]) == 0
    printed = capsys.readouterr().out
    assert "operator-tables" in printed
    assert "custom_allreduce        0.24.0" in printed
    assert profile("mine.npz", tmp_path).config == profile("h100-qwen3-14b-tp2").config


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--gpu", "H100", "--model", "x"], "no model 'x'"),
        (["--gpu", "T4", "--model", "Llama-3.1-8B"], "no GPU 'T4'"),
        (["--gpu", "MI300X", "--model", "Llama-3.1-8B"], "no operator tables for MI300X"),
        (["--gpu", "L40S", "--model", "Llama-3.1-70B"], "does not fit on 1 x L40S"),
        (["--gpu", "H100", "--model", "Llama-3.1-8B", "--vllm", "new"], "a vLLM version looks"),
        (["--gpu", "H100", "--model", "Llama-3.1-8B", "--tables", "no"], "no such file or folder"),
        (["--gpu", "H100", "--model", "Llama-3.1-8B", "--out", "x.txt"], "must end in .npz"),
    ],
)
def test_what_cannot_be_compiled_is_explained(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", *arguments]) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fallback", "rung"),
    [(["--scale-from", "H100"], "scaled-tables"), (["--roofline"], "roofline")],
)
def test_a_gpu_without_tables_has_flagged_fallbacks(
    fallback: list[str], rung: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "amd.npz"
    arguments = ["compile", "--gpu", "MI300X", "--model", "Llama-3.1-8B", *fallback]
    assert main([*arguments, "--out", str(out)]) == 0
    assert "not validated" in capsys.readouterr().out
    assert profile("amd.npz", tmp_path).step_times.rung == rung


def test_calibrated_constants_are_those_of_a_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = profile("h100-qwen3-14b-tp2").step_model
    log = tmp_path / "steps.jsonl"
    steps = [
        {"prefill_chunks": [], "decodes": n, "kv_tokens": 500 * n,
         "seconds": model.step([], n, 500 * n) + 0.002}
        for n in range(1, 60)
    ]  # fmt: skip
    log.write_text("".join(json.dumps(step) + "\n" for step in steps))
    out = tmp_path / "constants.json"
    arguments = ["calibrate", "--profile", "h100-qwen3-14b-tp2", "--out", str(out)]
    assert main([*arguments, "--steps", str(log)]) == 0
    assert "59 steps" in capsys.readouterr().out
    found = json.loads(out.read_text())
    assert found["step_ms"] == pytest.approx(2.0 + 0.64, rel=1e-6)
    assert main([*arguments, "--requests", str(log)]) == 2
    assert main([*arguments, "--requests", str(log), "--thetas"]) == 2


def test_the_list_names_every_profile(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert "h100-llama-2-70b-tp4" in printed
    assert "0.14.0, 0.19.0, 0.24.0" in printed
    assert "tiny" in printed


def test_check_needs_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--data", str(tmp_path)]) == 2
    assert "blis_training_h100.tar.gz: no such file" in capsys.readouterr().err
