"""The results: numbers of each arm, as a table and as JSON.  All times are engine seconds."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from headway_cli.demo.arms import Outcome
from headway_cli.demo.client import Status
from headway_cli.demo.experiment import Experiment
from headway_cli.demo.fleet import FleetSpec
from headway_core.facts import Slo
from headway_router.envoy import GatewayPolicy

SCHEMA = 1
NAMES = {GatewayPolicy.ROUND_ROBIN: "round-robin", GatewayPolicy.ROUTED: "headway"}
PERCENTILES = (50, 90, 99)
MOST_REASONS = 5

Json = dict[str, Any]


def percentile(values: Sequence[float], percent: float) -> float | None:
    """By linear interpolation between the two closest ranks; None: no values."""
    if not values:
        return None
    ordered = sorted(values)
    rank = (len(ordered) - 1) * percent / 100
    below = int(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def as_json(
    experiment: Experiment, seed: int, dilation: float, outcomes: Sequence[Outcome]
) -> Json:
    return {
        "schema": SCHEMA,
        "seed": seed,
        "dilation": dilation,
        "workload": _workload(experiment),
        "runs": [_run(outcome, experiment.fleet, dilation) for outcome in outcomes],
    }


def _workload(experiment: Experiment) -> Json:
    requests = experiment.requests
    workload: Json = {
        "name": experiment.name,
        "duration_s": round(experiment.duration_s, 3),
        "requests": len(requests),
        "prompt_tokens": sum(request.prompt_tokens for request in requests),
        "output_tokens": sum(request.output_tokens for request in requests),
    }
    if experiment.trace is not None:
        workload["requests_in_trace"] = experiment.trace.requests
        workload["times_faster_than_recorded"] = experiment.trace.speed
    return workload


def _run(outcome: Outcome, fleet: FleetSpec, dilation: float) -> Json:
    slo = fleet.slo
    exchanges = outcome.exchanges
    ttft_s = [e.ttft_s for e in exchanges if e.ttft_s is not None]
    met = sum(
        e.ttft_s is not None and e.ttft_s <= slo.ttft_target_s(e.prompt_tokens) for e in exchanges
    )
    answered = [e for e in exchanges if e.status is Status.COMPLETE]
    prompt_tokens = sum(e.prompt_tokens for e in answered)
    cached_tokens = sum(e.cached_tokens for e in answered)
    return {
        "policy": NAMES[outcome.policy],
        "requests": len(exchanges),
        "failed": sum(e.status is Status.FAILED for e in exchanges),
        "shed": sum(e.status is Status.SHED for e in exchanges),
        "ttft_s": {f"p{p}": _rounded(percentile(ttft_s, p)) for p in PERCENTILES},
        "slo": _slo(slo),
        "slo_attainment": round(met / len(exchanges), 4),
        "cached_token_share": round(cached_tokens / prompt_tokens, 4) if prompt_tokens else 0.0,
        "leases_outstanding": outcome.leases_outstanding,
        "event_loop_lag_s": {"p99": _rounded(lag_s(outcome, dilation))},
        "engines": [
            {
                "name": spec.name,
                "accelerator": spec.accelerator,
                "requests": outcome.engines[spec.name].requests,
                "prompt_tokens": outcome.engines[spec.name].prompt_tokens,
                "cached_tokens": outcome.engines[spec.name].cached_tokens,
            }
            for spec in fleet.engines
        ],
    }


def lag_s(outcome: Outcome, dilation: float) -> float | None:
    wall_s = percentile(outcome.lag_samples_s, 99)
    return None if wall_s is None else wall_s / dilation


def _slo(slo: Slo) -> Json:
    if slo.ttft_s_per_1k_tokens == 0:
        return {"ttft_s": slo.ttft_s}
    return {"ttft_s": slo.ttft_s, "ttft_s_per_1k_tokens": slo.ttft_s_per_1k_tokens}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 5)


def as_table(report: Json) -> Table:
    """One column per policy."""
    runs = report["runs"]
    table = Table(title=_title(report))
    table.add_column("engine seconds")
    for run in runs:
        table.add_column(run["policy"], justify="right")

    def row(label: str, *path: str, form: str) -> None:
        table.add_row(label, *(_cell(run, path, form) for run in runs))

    row("requests", "requests", form="{:,}")
    row("failed", "failed", form="{:,}")
    row("shed", "shed", form="{:,}")
    for p in PERCENTILES:
        row(f"time to first token, p{p}", "ttft_s", f"p{p}", form="{:.3f}")
    row(f"within {_target(runs[0]['slo'])}", "slo_attainment", form="{:.1%}")
    row("prompt tokens found in a cache", "cached_token_share", form="{:.1%}")
    for index, engine in enumerate(runs[0]["engines"]):
        cells = (f"{run['engines'][index]['requests']:,}" for run in runs)
        table.add_row(f"requests to {engine['name']}", *cells)
    row("leases left", "leases_outstanding", form="{:,}")
    row("lag of the event loop, p99", "event_loop_lag_s", "p99", form="{:.4f}")
    return table


def reasons(outcomes: Sequence[Outcome]) -> list[str]:
    """Why requests got no answer, the most frequent reasons first."""
    counts = Counter(
        (NAMES[outcome.policy], str(exchange.status), exchange.error)
        for outcome in outcomes
        for exchange in outcome.exchanges
        if exchange.status is not Status.COMPLETE
    )
    return [
        f"{policy}: {count} {status}: {error}"
        for (policy, status, error), count in counts.most_common(MOST_REASONS)
    ]


def _title(report: Json) -> str:
    workload = report["workload"]
    title = f"{workload['name']}, seed {report['seed']}: {workload['requests']:,} requests"
    if "requests_in_trace" in workload:
        title += (
            f" of {workload['requests_in_trace']:,}, sent"
            f" {workload['times_faster_than_recorded']:g} times faster than recorded,"
        )
    return title + f" in {workload['duration_s']:g} s; dilation {report['dilation']:g}"


def _target(slo: Json) -> str:
    growing = slo.get("ttft_s_per_1k_tokens")
    return f"{slo['ttft_s']:g} s" + (f" + {growing:g} s per 1,000 tokens" if growing else "")


def _cell(run: Json, path: Sequence[str], form: str) -> str:
    value: Any = run
    for key in path:
        value = value[key]
    return "-" if value is None else form.format(value)
