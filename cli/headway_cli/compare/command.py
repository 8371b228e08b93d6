"""Reads the flags, fills the grid, shows what it says."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from headway_cli.compare.grid import Cell, cells, check
from headway_cli.compare.plot import svg
from headway_cli.compare.store import Store, default_folder
from headway_cli.compare.summary import summary
from headway_cli.compare.table import rows
from headway_cli.compare.workers import Progress, run_all
from headway_sim.baselines import BASELINES
from headway_sim.errors import SimulatorError
from headway_sim.report import Report
from headway_sim.scenario import load

_T = TypeVar("_T")


def main(arguments: list[str]) -> int:
    """0: complete.  2: the scenario or a flag is not usable.  130: interrupted, to be resumed."""
    given = parser().parse_args(arguments)
    for path in (given.json, given.svg):
        if path is not None and not path.absolute().parent.is_dir():
            return _refused(f"no such folder: {path.absolute().parent}")
    rates: tuple[float | None, ...] = given.rates or (None,)
    if given.svg is not None and len(rates) < 2:
        return _refused("--svg needs at least two --rates")
    wanted = cells(given.policies, rates, given.seeds)
    try:
        scenario = load(given.scenario)
        check(scenario, wanted)
        store = Store(default_folder(), scenario, given.scenario)
        reports = _fill(given.scenario, wanted, store, given.jobs)
    except SimulatorError as error:
        return _refused(str(error))
    except KeyboardInterrupt:
        print("headway compare: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    summed = summary(reports, given.policies, rates)
    for row in rows(scenario.name, summed):
        print(row)
    if given.json is not None:
        result = summed | {"seeds": given.seeds, "runs": [reports[cell] for cell in wanted]}
        given.json.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    if given.svg is not None:
        try:
            given.svg.write_text(svg(f"{scenario.name}: arrivals within their SLO", summed))
        except ValueError as error:
            return _refused(str(error))
    return 0


def _fill(path: Path, wanted: tuple[Cell, ...], store: Store, jobs: int) -> dict[Cell, Report]:
    """Raises: SimulatorError."""
    known = {cell: report for cell in wanted if (report := store.read(cell)) is not None}
    todo = [cell for cell in wanted if cell not in known]
    progress = Progress(len(todo), len(known), _say)
    for (_, cell), report in run_all([(path, cell) for cell in todo], jobs):
        store.write(cell, report)
        known[cell] = report
        progress.step(cell)
    return {cell: known[cell] for cell in wanted}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _refused(message: str) -> int:
    print(f"headway compare: {message}", file=sys.stderr)
    return 2


def _listed(one: Callable[[str], _T]) -> Callable[[str], tuple[_T, ...]]:
    def parse(text: str) -> tuple[_T, ...]:
        try:
            return tuple(one(part.strip()) for part in text.split(","))
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error

    return parse


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate < float("inf"):
        raise ValueError("a rate is a positive number")
    return rate


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise ValueError("not negative")
    return count


def _jobs(text: str) -> int:
    jobs = int(text)
    if jobs < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return jobs


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headway compare",
        description="Run policies on the same requests, for every rate and seed.  Results are kept:"
        " an interrupted comparison goes on where it was, and a larger one uses what is there.",
    )
    parser.add_argument("scenario", type=Path, metavar="SCENARIO.yaml")
    parser.add_argument(
        "--policies",
        type=_listed(str),
        default=("headway", "round-robin"),
        metavar="A,B,...",
        help="the first is what the others are compared with (default: headway,round-robin);"
        f" headway, {', '.join(BASELINES)}",
    )
    parser.add_argument(
        "--rates", type=_listed(_rate), metavar="N,...", help="requests/s; default: the scenario's"
    )
    parser.add_argument(
        "--seeds",
        type=_listed(_count),
        default=(1, 2, 3, 4, 5),
        metavar="N,...",
        help="default: 1,2,3,4,5",
    )
    parser.add_argument(
        "--jobs",
        type=_jobs,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes (default: one per core)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results here")
    parser.add_argument(
        "--svg", type=Path, metavar="FILE", help="draw attainment against rate here"
    )
    return parser
