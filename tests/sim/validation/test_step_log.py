"""Constants from a log of steps."""

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest

from headway_sim.errors import InvalidLog
from headway_sim.profiles import Constants, profile
from headway_sim.profiles.least_squares import nonnegative
from headway_sim.profiles.operator_step import OperatorStep
from headway_sim.validation.step_log import fit_steps, read_steps

TRUE = Constants(
    theta_gemm=1.1,
    theta_attention=0.8,
    theta_communication=1.5,
    step_ms=0.7,
    step_ms_per_sequence=0.004,
    source="made up",
)


def model() -> OperatorStep:
    found = profile("h100-llama-3.1-70b-tp4").step_model
    assert isinstance(found, OperatorStep)
    return found


def logged(constants: Constants, steps: int = 300, noise: float = 0.0) -> list[dict[str, object]]:
    rng, priced = Random(1), model().with_constants(constants)
    rows: list[dict[str, object]] = []
    for _ in range(steps):
        chunks = [
            [rng.randint(1, 1000), rng.choice((0, 512, 4096))] for _ in range(rng.randint(0, 3))
        ]
        decodes = rng.randint(1, 200)
        kv = decodes * rng.randint(100, 4000)
        seconds = priced.step([(q, p) for q, p in chunks], decodes, kv)
        seconds *= 1 + rng.gauss(0, noise)
        rows.append(
            {"prefill_chunks": chunks, "decodes": decodes, "kv_tokens": kv, "seconds": seconds}
        )
    return rows


def written(rows: list[dict[str, object]], folder: Path) -> Path:
    path = folder / "steps.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_what_made_the_steps_is_found_again(tmp_path: Path) -> None:
    steps = read_steps(written(logged(TRUE), tmp_path))
    found = fit_steps(steps, model(), "test", with_thetas=True)
    assert abs(found.worst_error) < 1e-9
    for name in ("theta_gemm", "theta_attention", "theta_communication", "step_ms"):
        assert getattr(found.constants, name) == pytest.approx(getattr(TRUE, name), rel=1e-6)
    assert found.constants.step_ms_per_sequence == pytest.approx(0.004, rel=1e-6)


def test_noise_averages_out(tmp_path: Path) -> None:
    steps = read_steps(written(logged(TRUE, 2000, noise=0.02), tmp_path))
    found = fit_steps(steps, model(), "test", with_thetas=True)
    assert found.median_error < 0.02
    assert found.constants.theta_gemm == pytest.approx(1.1, rel=0.02)


def test_without_thetas_the_tables_stay(tmp_path: Path) -> None:
    true = Constants(step_ms=0.7, step_ms_per_sequence=0.004)
    found = fit_steps(
        read_steps(written(logged(true), tmp_path)), model(), "test", with_thetas=False
    )
    assert found.constants.theta_gemm == 1.0
    assert found.constants.step_ms == pytest.approx(0.7, rel=1e-6)
    assert found.constants.step_ms_per_sequence == pytest.approx(0.004, rel=1e-6)


GOOD = {"prefill_chunks": [[16, 0]], "decodes": 1, "kv_tokens": 5, "seconds": 0.01}


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ({"seconds": -1}, "line 2: seconds must be a number >= 1e-09, got -1"),
        ({"decodes": 1.5}, "line 2: decodes must be a whole number >= 0, got 1.5"),
        ({"prefill_chunks": [[0, 1]]}, "line 2: prefill_chunks must be pairs"),
        ({"prefill_chunks": [], "decodes": 0}, "line 2: a step of nothing"),
        ({"ms": 3}, "line 2: unknown ms"),
    ],
)
def test_a_line_that_does_not_fit_is_named(
    bad: dict[str, object], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidLog, match=problem):
        read_steps(written([GOOD, GOOD | bad], tmp_path))


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    with pytest.raises(InvalidLog, match=r"steps\.jsonl: no such file"):
        read_steps(path)
    path.write_text("")
    with pytest.raises(InvalidLog, match="has no steps"):
        read_steps(path)
    path.write_text("{\n")
    with pytest.raises(InvalidLog, match="line 1: not JSON"):
        read_steps(path)
    path.write_text("[]\n")
    with pytest.raises(InvalidLog, match="line 1: not an object"):
        read_steps(path)
    path.write_text("{}\n")
    with pytest.raises(InvalidLog, match="line 1: has no prefill_chunks"):
        read_steps(path)


def test_coefficients_are_never_negative() -> None:
    columns = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    assert nonnegative(columns, np.array([1.0, 3.0, 5.0, 7.0])) == pytest.approx([1.0, 2.0])
    assert nonnegative(columns, np.array([3.0, 2.0, 1.0, 0.0])) == pytest.approx([1.5, 0.0])
    assert nonnegative(columns, np.array([-1.0, -1.0, -1.0, -1.0])) == pytest.approx([0.0, 0.0])
