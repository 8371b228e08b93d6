"""The questions that the experiment asks, each as plain values with the n that they come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from benchmarks.dualmap.arms import Arm
from benchmarks.dualmap.beds import Bed
from benchmarks.dualmap.knee import Knee, Search, search
from benchmarks.dualmap.lab import Lab, Sample, samples
from headway_cli.compare.grid import Cell
from headway_cli.compare.summary import difference, estimate, summary

PAIRED = ("ttft_mean_s", "tpot_mean_s", "e2e_p90_s")

Found = dict[Sample, Knee | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One search."""

    bed: Bed
    arm: Arm
    sample: Sample
    start: int


def knees(lab: Lab, bed: Bed, arms: Sequence[Arm], seeds: int) -> list[dict[str, Any]]:
    """Rates at 90 % attainment of every arm; the first of them is searched first.

    The others begin near what was found for it in the same window, and the further seeds of an
    arm near what its first seed has found.
    """
    lead, *others = arms
    first = [sample for sample in samples(bed, seeds) if sample.seed == 1]
    later = [sample for sample in samples(bed, seeds) if sample.seed > 1]
    found: dict[Arm, Found] = {}

    def ask(arms: Sequence[Arm], among: Sequence[Sample], near: Mapping[Arm, Found]) -> None:
        asked = [
            Question(bed=bed, arm=arm, sample=sample, start=_start(near[arm], sample))
            for arm in arms
            for sample in among
        ]
        for question, knee in _answered(lab, asked):
            found.setdefault(question.arm, {})[question.sample] = knee

    ask([lead], first, {lead: {}})
    ask(others, first, dict.fromkeys(others, found[lead]))
    ask(arms, later, found)
    return [_knee_row(bed, arm, found[arm]) for arm in arms]


def at_rates(lab: Lab, bed: Bed, arms: Sequence[Arm], rates: Sequence[float]) -> dict[str, Any]:
    """What `headway compare` sums up, over windows instead of seeds; one tie seed.

    With it, window by window, how far the others' latencies are from those of the first arm, and
    by prompt length what became of the requests of all windows.
    """
    wanted = {
        Cell(arm.name, rate, sample.window): lab.task(bed, arm, rate, sample)
        for rate in rates
        for arm in arms
        for sample in samples(bed, 1)
    }
    lab.run(list(wanted.values()))
    reports = {cell: lab.report(task) for cell, task in wanted.items()}
    summed = summary(reports, [arm.name for arm in arms], list(rates))
    for row in summed["rows"]:
        for name in PAIRED:
            apart = difference(reports, name, row["policy"], arms[0].name, row["rate_per_s"])
            row[f"{name}_difference"] = None if apart is None else apart.as_json()
        of_row = [r for c, r in reports.items() if (c.policy, c.rate_per_s) == _which(row)]
        row["by_prompt_tokens"] = _by_length(of_row)
    return {"bed": bed.name, "windows": bed.windows, "seeds": 1, **summed}


def whole(lab: Lab, bed: Bed, arms: Sequence[Arm], rates: Sequence[float]) -> dict[str, Any]:
    """One long run for each arm and rate, with figures by prompt length."""
    sample = Sample(0, 1)
    wanted = {(arm.name, rate): lab.task(bed, arm, rate, sample) for rate in rates for arm in arms}
    lab.run(list(wanted.values()))
    rows = [
        {"arm": name, "rate_per_s": rate, "report": _kept(lab.report(task))}
        for (name, rate), task in wanted.items()
    ]
    return {"bed": bed.name, "requests": bed.window - bed.window_warm_up, "runs": 1, "rows": rows}


def compared(mine: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, float | None]:
    """By how much the first knee is above the second, in %, window by window.

    Tie seeds of a window are not independent of each other: their mean is one value.
    """
    pairs = zip(_by_window(mine), _by_window(other), strict=True)
    ratios = [100 * (a / b - 1) for a, b in pairs if a is not None and b is not None]
    if not ratios:
        return {"percent": None, "half_width": None, "windows": 0}
    found = estimate(ratios)
    return {"percent": found.mean, "half_width": found.half_width, "windows": len(ratios)}


def _answered(lab: Lab, asked: Sequence[Question]) -> list[tuple[Question, Knee | None]]:
    """All searches go on side by side: in every round the runs that any of them needs."""
    found: list[tuple[Question, Knee | None]] = []
    going: list[tuple[Question, Search, int]] = []
    for question in asked:
        begun = search(question.start, question.bed.rate_per_s)
        going.append((question, begun, next(begun)))
    while going:
        tasks = {
            question: lab.task(
                question.bed, question.arm, question.bed.rate_per_s(number), question.sample
            )
            for question, _, number in going
        }
        lab.run(list(tasks.values()))
        still: list[tuple[Question, Search, int]] = []
        for question, begun, _ in going:
            attainment = lab.report(tasks[question])["attainment"]
            try:
                still.append((question, begun, begun.send(attainment)))
            except StopIteration as end:
                found.append((question, end.value))
        going = still
    return found


def _which(row: Mapping[str, Any]) -> tuple[str, float]:
    return row["policy"], row["rate_per_s"]


def _by_length(reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Attainment of all arrivals of a length; of the windows' median slowdowns the mean."""
    found: dict[int, list[Mapping[str, Any]]] = {}
    for report in reports:
        for bucket in report["by_prompt_tokens"]:
            found.setdefault(bucket["from"], []).append(bucket)
    rows = []
    for start, buckets in sorted(found.items()):
        arrived = sum(bucket["arrived"] for bucket in buckets)
        met = sum(bucket["arrived"] * bucket["attainment"] for bucket in buckets)
        slowdowns = [b["slowdown"]["p50"] for b in buckets if b["slowdown"] is not None]
        rows.append(
            {
                "from": start,
                "arrived": arrived,
                "attainment": met / arrived,
                "slowdown": {"p50": fmean(slowdowns)} if slowdowns else None,
            }
        )
    return rows


def _start(near: Found, sample: Sample) -> int:
    knee = near.get(sample) or near.get(Sample(sample.window, 1))
    return 0 if knee is None else knee.below


def _knee_row(bed: Bed, arm: Arm, found: Found) -> dict[str, Any]:
    windows = sorted({sample.window for sample in found})
    rates = [
        [
            None if knee is None else knee.rate_per_s
            for sample, knee in sorted(found.items())
            if sample.window == window
        ]
        for window in windows
    ]
    row: dict[str, Any] = {"bed": bed.name, "arm": arm.name, "by_window_and_seed": rates}
    means = [rate for rate in _by_window(row) if rate is not None]
    whole = estimate(means) if means else None
    row["windows"], row["seeds"] = len(means), max(map(len, rates))
    row["rate_per_s"] = None if whole is None else whole.mean
    row["half_width"] = None if whole is None else whole.half_width
    return row


def _by_window(row: Mapping[str, Any]) -> list[float | None]:
    """None: a search of that window has found nothing."""
    return [
        None if any(rate is None for rate in rates) else fmean(rates)
        for rates in row["by_window_and_seed"]
    ]


def _kept(report: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        "attainment",
        "delivered_rate_per_s",
        "requests",
        "ttft_s",
        "tpot_s",
        "e2e_s",
        "cached_share",
        "by_prompt_tokens",
    )
    return {name: report[name] for name in names}
