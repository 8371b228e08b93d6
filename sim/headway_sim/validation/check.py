"""How good the engine model is: measured runs, predicted by constants fitted on other ones.

Folds: fitted on CodeLlama-34B and tested on Llama-2-70B, and the other way round.  The run on RTX
PRO 6000 is in no fit.  No constant is of a run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from headway_sim.errors import InvalidLog
from headway_sim.profiles.constants import Constants
from headway_sim.profiles.library import load, newest_for, stored
from headway_sim.profiles.profile import EngineProfile, from_tables
from headway_sim.validation import bench_log, inference_perf
from headway_sim.validation.fit import fit
from headway_sim.validation.replay import Replayed, replay
from headway_sim.validation.run import METRICS, MeasuredRun

FOLDS = ("CodeLlama-34B", "Llama-2-70B")
"""Models that constants are fitted on."""


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of a stage, predicted and measured."""

    fold: str
    """The model that constants were fitted on."""
    run: str
    stage: str
    model: str
    metric: str
    measured: float
    predicted: float
    fitted: bool
    """The run was in this fold's fit."""

    @property
    def error(self) -> float:
        """Signed, relative."""
        return self.predicted / self.measured - 1

    def plain(self) -> dict[str, Any]:
        return {
            name: getattr(self, name)
            for name in ("run", "stage", "model", "metric", "measured", "predicted", "fitted")
        }


@dataclass(frozen=True, slots=True)
class Gate:
    """Median absolute error of one metric over the stages of one model that were not fitted."""

    fold: str
    model: str
    metric: str
    stages: int
    median: float
    worst: float
    """Signed."""
    allowed: float

    @property
    def holds(self) -> bool:
        return self.median <= self.allowed


@dataclass(frozen=True, slots=True)
class Checked:
    rows: tuple[Row, ...]
    constants: Mapping[str, Constants]
    """By fold."""
    gates: tuple[Gate, ...]

    @property
    def holds(self) -> bool:
        return all(gate.holds for gate in self.gates)


_ALLOWED = {
    (bench_log.GPU, "e2e_mean_s"): 0.03,
    (bench_log.GPU, "ttft_mean_s"): 0.05,
    (inference_perf.GPU, "e2e_mean_s"): 0.03,
    (inference_perf.GPU, "ttft_mean_s"): 0.05,
}


def read_all(data: Path) -> tuple[MeasuredRun, ...]:
    """From the data folder, or from its ``perf/calibration``.  Raises: InvalidLog."""
    inside = data / "perf" / "calibration"
    folder = inside if inside.is_dir() else data
    if not folder.is_dir():
        raise InvalidLog(data, "no such folder")
    return (
        *inference_perf.read_runs(folder / inference_perf.ARCHIVE),
        bench_log.read_run(folder / bench_log.FOLDER),
    )


def check(runs: Sequence[MeasuredRun], say: Callable[[str], None]) -> Checked:
    """``say`` gets a line whenever something takes a while."""
    constants: dict[str, Constants] = {}
    rows: list[Row] = []
    for fold in FOLDS:
        train = [run for run in runs if run.deployment.model_name == fold]
        say(f"fit on {fold}: {len(train)} runs")
        constants[fold] = fit(train, predict, f"fitted on {fold}")
        for run in runs:
            say(f"fitted on {fold}: {run.name}")
            rows += _rows(run, constants[fold], fold, is_fitted=run in train)
    return Checked(tuple(rows), constants, tuple(_gates(rows, runs)))


def predict(run: MeasuredRun, constants: Constants) -> Sequence[Replayed]:
    return replay(run, profile_of(run, constants))


def profile_of(run: MeasuredRun, constants: Constants) -> EngineProfile:
    """Of the tables that are nearest to the run's engine.  Raises: InvalidLog."""
    versions = stored().get(run.deployment.name)
    if versions is None:
        raise InvalidLog(Path(run.name), f"there is no profile {run.deployment.name!r}")
    path, is_newer = newest_for(versions, run.vllm)
    return from_tables(load(path), run.vllm, constants=constants, is_newer=is_newer)


def _rows(run: MeasuredRun, constants: Constants, fold: str, *, is_fitted: bool) -> Iterator[Row]:
    for stage in predict(run, constants):
        predicted = stage.metrics(constants)
        for metric in METRICS:
            yield Row(
                fold=fold,
                run=run.name,
                stage=stage.stage.name,
                model=run.deployment.model_name,
                metric=metric,
                measured=stage.stage.measured[metric],
                predicted=predicted[metric],
                fitted=is_fitted,
            )


def _gates(rows: Sequence[Row], runs: Sequence[MeasuredRun]) -> Iterator[Gate]:
    gpus = {run.name: run.deployment.gpu.name for run in runs}
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if not row.fitted:
            groups.setdefault((row.fold, row.model, row.metric), []).append(row)
    for (fold, model, metric), tested in groups.items():
        allowed = _ALLOWED.get((gpus[tested[0].run], metric))
        if allowed is None:
            continue
        yield Gate(
            fold=fold,
            model=model,
            metric=metric,
            stages=len(tested),
            median=median(abs(row.error) for row in tested),
            worst=max((row.error for row in tested), key=abs),
            allowed=allowed,
        )
