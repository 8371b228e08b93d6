"""What the seeds say together: means with confidence intervals, and paired differences.

    half width = t(0.975, seeds - 1) * s / sqrt(seeds)

The seeds of two policies at one rate are the same requests, so their difference is taken seed by
seed: its interval is narrower than those of the two means.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

from headway_cli.compare.grid import Cell

Report = Mapping[str, Any]
Reports = Mapping[Cell, Report]

# Quantiles of Student's t distribution at 0.975, for 1 to 30 degrees of freedom.
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
)  # fmt: skip

FIGURES: Mapping[str, Callable[[Report], float | None]] = {
    "attainment": lambda report: report["attainment"],
    "goodput_per_s": lambda report: report["goodput_per_s"],
    "delivered_rate_per_s": lambda report: report["delivered_rate_per_s"],
    "cached_share": lambda report: report["cached_share"],
    "ttft_mean_s": lambda report: _of(report["ttft_s"], "mean"),
    "ttft_p50_s": lambda report: _of(report["ttft_s"], "p50"),
    "ttft_p90_s": lambda report: _of(report["ttft_s"], "p90"),
    "ttft_p99_s": lambda report: _of(report["ttft_s"], "p99"),
    "tpot_mean_s": lambda report: _of(report["tpot_s"], "mean"),
    "e2e_p90_s": lambda report: _of(report["e2e_s"], "p90"),
    "shed_share": lambda report: _share(report["requests"], "shed"),
    "failed_share": lambda report: _share(report["requests"], "failed"),
}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds.  ``half_width`` None: one seed says nothing about the spread."""

    mean: float
    half_width: float | None
    seeds: int

    def as_json(self) -> dict[str, float | int | None]:
        return {"mean": self.mean, "half_width": self.half_width, "seeds": self.seeds}


def estimate(values: Sequence[float]) -> Estimate:
    """Of at least one value."""
    count = len(values)
    if count == 1:
        return Estimate(values[0], None, 1)
    quantile = _T[min(count - 1, len(_T)) - 1]
    return Estimate(fmean(values), quantile * stdev(values) / count**0.5, count)


def figure(reports: Reports, name: str, policy: str, rate: float | None) -> Estimate | None:
    """None: no seed has it."""
    values = [
        value
        for cell, report in reports.items()
        if (cell.policy, cell.rate_per_s) == (policy, rate)
        and (value := FIGURES[name](report)) is not None
    ]
    return estimate(values) if values else None


def difference(
    reports: Reports, name: str, policy: str, reference: str, rate: float | None
) -> Estimate | None:
    """Mean of ``policy - reference`` over the seeds that both have."""
    values = []
    for cell, report in reports.items():
        if (cell.policy, cell.rate_per_s) != (policy, rate):
            continue
        other = reports.get(Cell(reference, rate, cell.seed))
        mine = FIGURES[name](report)
        theirs = None if other is None else FIGURES[name](other)
        if mine is not None and theirs is not None:
            values.append(mine - theirs)
    return estimate(values) if values else None


def crossing(points: Sequence[tuple[float, float]], level: float) -> float | None:
    """The first rate at which a figure that starts above ``level`` falls to it, interpolated.

    ``points`` are (rate, figure) by rate.  None: it does not, in this range.
    """
    for (rate, value), (next_rate, next_value) in pairwise(points):
        if value >= level > next_value:
            return rate + (value - level) / (value - next_value) * (next_rate - rate)
    return None


def summary(
    reports: Reports, policies: Sequence[str], rates: Sequence[float | None]
) -> dict[str, Any]:
    """Plain values; policies are compared with the first of them."""
    rows = []
    for policy in policies:
        for rate in rates:
            row: dict[str, Any] = {"policy": policy, "rate_per_s": rate}
            for name in FIGURES:
                found = figure(reports, name, policy, rate)
                row[name] = None if found is None else found.as_json()
            against = difference(reports, "attainment", policy, policies[0], rate)
            row["attainment_difference"] = None if against is None else against.as_json()
            rows.append(row)
    return {
        "reference": policies[0],
        "rows": rows,
        "rate_at_90_percent": {policy: _knee(reports, policy, rates) for policy in policies},
    }


def _knee(reports: Reports, policy: str, rates: Sequence[float | None]) -> float | None:
    points = []
    for rate in sorted(rate for rate in rates if rate is not None):
        found = figure(reports, "attainment", policy, rate)
        if found is not None:
            points.append((rate, found.mean))
    return crossing(points, 0.9)


def _of(distribution: Mapping[str, float] | None, key: str) -> float | None:
    return None if distribution is None else distribution[key]


def _share(requests: Mapping[str, Any], fate: str) -> float | None:
    arrived: int = requests["arrived"]
    found: int = requests[fate]
    return found / arrived if arrived else None
