"""Measured runs: read, replayed, fitted to, and predicted."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from headway_sim.errors import InvalidLog
from headway_sim.profiles import Constants, profile
from headway_sim.profiles.deployment import Deployment
from headway_sim.profiles.versions import version
from headway_sim.validation import bench_log, inference_perf
from headway_sim.validation.check import FOLDS, check, predict, read_all
from headway_sim.validation.fit import fit
from headway_sim.validation.replay import replay
from headway_sim.validation.request_log import read_stage
from headway_sim.validation.run import METRICS, MeasuredRun, Stage, Timed, stage_of
from headway_sim.workloads.request import Segment, WorkloadRequest

TRUE = Constants(step_ms=0.5, api_ms=12.0)
KNOWN = profile("h100-llama-3.1-8b-tp1@0.15.1")


def made_up(count: int = 300) -> MeasuredRun:
    """A run whose measurements are the model's own, with other constants."""
    requests = tuple(
        WorkloadRequest(
            at_s=0.11 * i,
            prompt=(Segment(f"head/{i % 5}", 128), Segment(f"question/{i % 20}", 200 + i % 20)),
            output_tokens=64,
        )
        for i in range(count)
    )
    blank = Stage(
        name="0", requests=requests, measured=dict.fromkeys(METRICS, 1.0), median_ttft_s=1.0
    )
    run = MeasuredRun(
        name="made-up",
        deployment=Deployment(gpu_name="H100", model_name="Llama-3.1-8B"),
        vllm=version("0.15.1"),
        engine={"max_num_seqs": 64},
        is_timed_by_client=True,
        stages=(blank,),
        source="this test",
    )
    (replayed,) = replay(run, KNOWN.with_constants(TRUE))
    measured = replayed.metrics(TRUE)
    return replace(run, stages=(replace(blank, measured=measured, median_ttft_s=0.02),))


def test_constants_are_found_again() -> None:
    run = made_up()
    found = fit([run], lambda run, c: replay(run, KNOWN.with_constants(c)), "test")
    assert found.step_ms == pytest.approx(0.5, rel=0.03)
    assert found.api_ms == pytest.approx(12.0, rel=0.05)
    (again,) = replay(run, KNOWN.with_constants(found))
    for metric, measured in run.stages[0].measured.items():
        assert again.metrics(found)[metric] == pytest.approx(measured, rel=0.04)


def test_a_replay_is_the_same_each_time() -> None:
    run = made_up(50)
    assert replay(run, KNOWN) == replay(run, KNOWN)


def test_prompts_that_are_cycled_are_hits() -> None:
    run = made_up(100)
    (replayed,) = replay(run, KNOWN)
    ttfts = replayed.ttfts_s
    assert sum(ttfts[:20]) > 1.05 * sum(ttfts[-20:])


def test_the_api_is_the_clients_alone() -> None:
    (seen_by_client,) = replay(made_up(20), KNOWN)
    inside = replace(seen_by_client, is_timed_by_client=False)
    difference = seen_by_client.metrics(TRUE)["ttft_mean_s"] - inside.metrics(TRUE)["ttft_mean_s"]
    assert difference == pytest.approx(0.012)
    assert seen_by_client.metrics(TRUE)["tpot_mean_s"] == inside.metrics(TRUE)["tpot_mean_s"]


def test_a_stage_by_hand() -> None:
    requests = [
        Timed(
            prompt=(Segment("a", 4),),
            output_tokens=tokens,
            arrived_s=at_s,
            first_token_s=at_s + ttft_s,
            last_token_s=at_s + e2e_s,
        )
        for at_s, ttft_s, e2e_s, tokens in ((7.0, 0.5, 1.5, 11), (5.0, 0.25, 0.25, 1))
    ]
    stage = stage_of(requests)
    assert [request.at_s for request in stage.requests] == [0.0, 2.0]
    assert stage.measured["ttft_mean_s"] == pytest.approx(0.375)
    assert stage.measured["e2e_mean_s"] == pytest.approx(0.875)
    assert stage.measured["tpot_mean_s"] == pytest.approx(0.1)


LINE = {
    "arrived_s": 1.0,
    "first_token_s": 1.5,
    "last_token_s": 2.5,
    "prompt_tokens": 20,
    "output_tokens": 11,
}


def test_a_log_of_requests_is_read(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    shared = LINE | {"prompt": [["head", 16], ["tail", 4]]}
    path.write_text(f"{json.dumps(LINE)}\n{json.dumps(shared)}\n")
    stage = read_stage(path)
    assert [r.prompt_tokens for r in stage.requests] == [20, 20]
    assert stage.requests[1].prompt == (Segment("head", 16), Segment("tail", 4))
    assert stage.measured["tpot_mean_s"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ({"first_token_s": 0.5}, "line 1: first_token_s must be a number >= 1, got 0.5"),
        ({"output_tokens": 0}, "line 1: output_tokens must be a whole number >= 1, got 0"),
        ({"prompt": [["head", 16]]}, r"line 1: prompt must be pieces \[key, tokens\] of 20"),
        ({"user": 1}, "line 1: unknown user"),
        ({"output_tokens": 1}, "no request has a second token"),
    ],
)
def test_a_request_that_does_not_fit_is_named(
    bad: dict[str, object], problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(json.dumps(LINE | bad) + "\n")
    with pytest.raises(InvalidLog, match=problem):
        read_stage(path)


def test_a_data_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidLog, match="no such folder"):
        read_all(tmp_path / "missing")
    with pytest.raises(InvalidLog, match=r"blis_training_h100\.tar\.gz: no such file"):
        read_all(tmp_path)
    (tmp_path / inference_perf.ARCHIVE).write_bytes(b"text")
    with pytest.raises(InvalidLog, match="cannot be read"):
        read_all(tmp_path)


def test_the_runs_are_as_their_readme_says(shared_file: Callable[[str], Path]) -> None:
    runs = inference_perf.read_runs(shared_file(f"perf/calibration/{inference_perf.ARCHIVE}"))
    assert len(runs) == 6
    assert sum(len(run.stages) for run in runs) == 10
    assert {run.deployment.model_name for run in runs} == set(FOLDS)
    assert not any("reasoning" in run.name for run in runs)
    (queued,) = ((r.name, s.name) for r in runs for s in r.stages if s.has_queued)
    assert queued[0].endswith("llama-2-70b-tp4-general")
    stage = runs[0].stages[0]
    assert len(stage.requests) == 4800
    assert stage.requests[-1].at_s == pytest.approx(600)
    assert len({r.prompt for r in stage.requests}) == 45
    assert {r.output_tokens for r in stage.requests} == {248}


def test_the_saturated_run_on_rtx_pro_6000(shared_file: Callable[[str], Path]) -> None:
    """In no fit: the defaults are of runs on H100."""
    run = bench_log.read_run(shared_file(f"perf/calibration/{bench_log.FOLDER}"))
    stage = run.stages[0]
    assert len(stage.requests) == 300
    assert sum(r.prompt_tokens for r in stage.requests) == 257_239
    assert stage.measured["ttft_mean_s"] == pytest.approx(7.0972, rel=1e-4)
    constants = profile("h100-llama-2-70b-tp4").api
    assert constants is not None
    (replayed,) = predict(run, constants)
    error = {k: v / stage.measured[k] - 1 for k, v in replayed.metrics(constants).items()}
    assert abs(error["e2e_mean_s"]) <= 0.03
    assert abs(error["ttft_mean_s"]) <= 0.05


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_constants_of_one_model_predict_the_other(shared_file: Callable[[str], Path]) -> None:
    runs = read_all(shared_file("perf/calibration"))
    found = check(runs, lambda _: None)
    assert all(gate.holds for gate in found.gates), [g for g in found.gates if not g.holds]
    assert {(g.fold, g.model, g.metric) for g in found.gates} >= {
        (fold, model, metric)
        for fold, model in (FOLDS, reversed(FOLDS))
        for metric in ("e2e_mean_s", "ttft_mean_s")
    }
    keys = [(row.fold, row.run, row.stage, row.metric) for row in found.rows]
    assert len(keys) == len(set(keys)) == 2 * 11 * len(METRICS)
    for row in found.rows:
        assert row.fitted == (row.model == row.fold)
