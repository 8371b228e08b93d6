"""The report of a simulated run as lines of text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Report = Mapping[str, Any]


def rows(report: Report) -> Iterator[str]:
    yield f"{report['scenario']}, policy {report['policy']}, seed {report['seed']}"
    yield ""
    yield from _requests(report["requests"])
    rate = report["delivered_rate_per_s"]
    yield f"  {'rate':<16}{number(rate):>10} /s"
    yield f"  {'within SLO':<16}{share(report['attainment']):>10}  of arrivals"
    yield f"  {'goodput':<16}{number(report['goodput_per_s']):>10} /s"
    yield f"  {'cached':<16}{share(report['cached_share']):>10}  of prompt tokens"
    yield ""
    yield f"  {'':<16}{'mean':>10}{'p50':>10}{'p90':>10}{'p99':>10}{'max':>10}"
    for name, label in (("ttft_s", "TTFT"), ("tpot_s", "TPOT"), ("e2e_s", "E2E")):
        yield _latencies(label, report[name])
    yield ""
    yield f"  {'prompt tokens':<16}{'arrived':>10}{'in SLO':>10}{'TTFT p90':>10}{'slowdown':>10}"
    for bucket in report["by_prompt_tokens"]:
        yield _bucket(bucket)
    yield ""
    yield f"  {'engine':<16}{'requests':>10}{'busy':>10}{'cached':>10}{'preempted':>10}"
    for engine in report["engines"]:
        yield (
            f"  {engine['name'][:16]:<16}{engine['requests']:>10}{share(engine['busy_share']):>10}"
            f"{share(engine['cached_share']):>10}{engine['preemptions']:>10}"
        )
    yield ""
    yield from _step_times(report["engines"])


def _step_times(engines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """By profile: how well its step times are known."""
    known = {engine["profile"]: engine["step_times"] for engine in engines}
    for name, how in known.items():
        yield f"  step times of {name}: {how['rung']}"
        for note in how["notes"]:
            yield f"    {note}"


def _requests(requests: Mapping[str, Any]) -> Iterator[str]:
    for name in ("arrived", "finished", "shed", "failed", "in_flight"):
        reasons = requests.get(f"{name}_by_reason") or {}
        why = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
        yield f"  {name.replace('_', ' '):<16}{requests[name]:>10}" + (f"  {why}" if why else "")


def _latencies(label: str, found: Mapping[str, float] | None) -> str:
    if found is None:
        return f"  {label:<16}{'-':>10}"
    shown = (seconds(found[key]) for key in ("mean", "p50", "p90", "p99", "max"))
    return f"  {label:<16}" + "".join(f"{value:>10}" for value in shown)


def _bucket(bucket: Mapping[str, Any]) -> str:
    low, high = bucket["from"], bucket["below"]
    label = f"{low:,} or more" if high is None else f"{low:,} - {high:,}"
    ttft, slowdown = bucket["ttft_s"], bucket["slowdown"]
    return (
        f"  {label:<16}{bucket['arrived']:>10}{share(bucket['attainment']):>10}"
        f"{seconds(ttft and ttft['p90']):>10}{number(slowdown and slowdown['p50']):>10}"
    )


def seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
