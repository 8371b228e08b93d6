"""Runs the cells of the experiment: as scenario files, with what `headway compare` runs and keeps.

A finished cell is kept by the content of all that decides it, so whatever is interrupted goes on.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.dualmap.arms import Arm
from benchmarks.dualmap.beds import ENDPOINTS, Bed
from headway_cli.compare.grid import Cell
from headway_cli.compare.store import Store, default_folder
from headway_cli.compare.workers import Progress, Task, run_all
from headway_sim.report import Report
from headway_sim.scenario import load


@dataclass(frozen=True, slots=True, order=True)
class Sample:
    """A window of a trace and a seed for ties; of a made-up load the window is its seed."""

    window: int
    seed: int


def samples(bed: Bed, seeds: int) -> tuple[Sample, ...]:
    """Seed by seed.  Every window of a made-up load has one."""
    several = seeds if bed.load.is_recorded else 1
    return tuple(Sample(w, s) for s in range(1, several + 1) for w in range(bed.windows))


class Lab:
    def __init__(self, folder: Path, jobs: int, say: Callable[[str], None]) -> None:
        """``folder``: where the scenario files go; `headway simulate` can run each of them."""
        self._folder = folder
        self._jobs = jobs
        self._say = say
        self._stores: dict[Path, Store] = {}
        self._reports: dict[Task, Report] = {}

    def task(self, bed: Bed, arm: Arm, rate_per_s: float, sample: Sample) -> Task:
        recorded = bed.load.is_recorded
        path = self._scenario(bed, arm, sample.window if recorded else 0)
        seed = sample.seed if recorded else sample.window + 1
        return path, Cell(arm.policy, rate_per_s, seed)

    def run(self, wanted: Sequence[Task]) -> None:
        """Afterwards `report` knows them.  Raises: SimulatorError."""
        new = [task for task in dict.fromkeys(wanted) if task not in self._reports]
        for task in new:
            kept = self._store(task[0]).read(task[1])
            if kept is not None:
                self._reports[task] = kept
        todo = sorted((t for t in new if t not in self._reports), key=lambda t: str(t[0]))
        progress = Progress(len(todo), 0, self._say)
        for (path, cell), report in run_all(todo, self._jobs):
            self._store(path).write(cell, report)
            self._reports[path, cell] = report
            progress.step(cell)

    def report(self, task: Task) -> Report:
        return self._reports[task]

    def _store(self, path: Path) -> Store:
        if path not in self._stores:
            self._stores[path] = Store(default_folder(), load(path), path)
        return self._stores[path]

    def _scenario(self, bed: Bed, arm: Arm, window: int) -> Path:
        spec_name = _slug(json.dumps(arm.spec, sort_keys=True)) or "defaults"
        config = self._folder / f"config-{bed.hardware.name}-{spec_name}"
        _write(config / "pool.yaml", _pool(bed))
        if arm.spec:
            _write(config / "policy.yaml", _policy(arm))
        seen = {**bed.load.observation, **arm.observation}
        workload: dict[str, Any] = {
            **bed.load.workload,
            "requests": bed.window,
            "warmUpRequests": bed.window_warm_up,
            "ratePerSecond": bed.base_per_s,
        }
        if bed.load.is_recorded:
            workload["trace"] = {**workload["trace"], "skip": window * bed.window}
            workload["warmUpRatePerSecond"] = bed.load.warm_up_rate_per_s
        scenario = {
            "config": config.name,
            "policy": arm.policy,
            "parameters": dict(arm.parameters),
            "engines": [bed.hardware.engine],
            "workload": workload,
            "observation": seen,
            **bed.load.extra,
        }
        which = _slug(json.dumps([arm.spec, arm.observation, dict(arm.parameters)]))
        policy = f"-{arm.policy}" if arm.parameters else ""
        if not arm.parameters:
            del scenario["policy"], scenario["parameters"]
        name = f"{_slug(bed.name)}-{bed.window}-w{window}{policy}-{which or 'plain'}.yaml"
        return _write(self._folder / name, scenario)


def _pool(bed: Bed) -> dict[str, Any]:
    hardware = bed.hardware
    group = {
        "name": "engines",
        "workload": "Static",
        "accelerator": {"type": hardware.accelerator},
        "capacity": {"prefillTokensPerSecond": hardware.prefill_tokens_per_s},
        "endpoints": [
            {"name": name, "address": f"10.0.0.{number}"}
            for number, name in enumerate(ENDPOINTS, start=1)
        ],
    }
    return {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "ModelPool",
        "metadata": {"name": "pool"},
        "spec": {
            "model": {"name": "model"},
            "groups": [group],
            "slo": {"ttftMs": round(1000 * hardware.ttft_s)},
        },
    }


def _policy(arm: Arm) -> dict[str, Any]:
    return {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "RoutingPolicy",
        "metadata": {"name": "policy"},
        "spec": {"targetRefs": [{"name": "pool"}], **arm.spec},
    }


def _write(path: Path, document: dict[str, Any]) -> Path:
    """JSON is YAML."""
    text = json.dumps(document, indent=1) + "\n"
    if not path.is_file() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path


def _slug(text: str) -> str:
    words = "".join(c if c.isalnum() else " " for c in text).split()
    return "-".join(words).lower()
