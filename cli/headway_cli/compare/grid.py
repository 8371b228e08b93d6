"""The cells of a comparison, and the one run that fills a cell."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from headway_sim.errors import InvalidScenario
from headway_sim.report import Report, simulate
from headway_sim.scenario import Scenario, load


@dataclass(frozen=True, slots=True)
class Cell:
    """Cells of one rate and seed get the very same requests."""

    policy: str
    rate_per_s: float | None
    """None: as in the scenario."""
    seed: int


def cells(
    policies: Sequence[str], rates: Sequence[float | None], seeds: Sequence[int]
) -> tuple[Cell, ...]:
    """Seed by seed, so that an interrupted comparison has whole repetitions."""
    return tuple(Cell(policy, rate, seed) for seed, rate, policy in product(seeds, rates, policies))


def varied(scenario: Scenario, cell: Cell) -> Scenario:
    """Parameters stay with the policy that they were given for.

    Raises: InvalidScenario: there is no such policy, or the workload has no rate to set.
    """
    is_own = cell.policy == scenario.policy
    changed = replace(
        scenario,
        policy=cell.policy,
        parameters=scenario.parameters if is_own else {},
    ).with_seed(cell.seed)
    if cell.rate_per_s is None:
        return changed
    return replace(changed, workload=replace(changed.workload, rate_per_s=cell.rate_per_s))


def run(path: Path, cell: Cell) -> Report:
    """In any process: the scenario is read there.

    Raises: SimulatorError.
    """
    report, _ = simulate(varied(load(path), cell))
    return report


def check(scenario: Scenario, wanted: Sequence[Cell]) -> None:
    """Raises: InvalidScenario: before anything has run."""
    for cell in wanted:
        varied(scenario, cell)
    if len(set(wanted)) < len(wanted):
        raise InvalidScenario("a policy, a rate or a seed is given twice")
