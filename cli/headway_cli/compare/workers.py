"""Runs the cells that are not known yet, in several processes, and says how long it will take."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from time import monotonic

from headway_cli.compare.grid import Cell, run
from headway_sim.errors import InvalidScenario, SimulatorError
from headway_sim.report import Report

Said = Callable[[str], None]


Task = tuple[Path, Cell]
"""A scenario file, and what is varied in it."""


def run_all(todo: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Report]]:
    """Tasks with their reports, as they end.

    Raises: SimulatorError: of the first cell that has one; the others are given up.
    """
    if jobs == 1 or len(todo) == 1:
        for task in todo:
            yield task, run(*task)
        return
    # Spawned, so that a run starts as it does by itself, whatever this process has imported.
    pool = ProcessPoolExecutor(min(jobs, len(todo)), mp_context=get_context("spawn"))
    try:
        futures: dict[Future[Report | str], Task] = {
            pool.submit(_attempt, *task): task for task in todo
        }
        for future in as_completed(futures):
            result = future.result()
            if isinstance(result, str):
                raise InvalidScenario(result)
            yield futures[future], result
    finally:
        pool.shutdown(cancel_futures=True)


def _attempt(path: Path, cell: Cell) -> Report | str:
    """What is wrong as text: an exception may not survive the way between processes."""
    try:
        return run(path, cell)
    except SimulatorError as error:
        return str(error)


class Progress:
    """One line per cell: how many there are, and when the last will probably end."""

    def __init__(self, todo: int, known: int, say: Said) -> None:
        self._todo = todo
        self._say = say
        self._done = 0
        self._started_s = monotonic()
        if known:
            say(f"{known} of {known + todo} results are known from before")

    def step(self, cell: Cell) -> None:
        self._done += 1
        left = self._todo - self._done
        each_s = (monotonic() - self._started_s) / self._done
        rate = "" if cell.rate_per_s is None else f" at {cell.rate_per_s:g}/s"
        eta = f", about {_duration(left * each_s)} left" if left else ""
        self._say(f"{self._done}/{self._todo} {cell.policy}{rate}, seed {cell.seed}{eta}")


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
