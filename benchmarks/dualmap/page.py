"""The results as Markdown tables and one plot.  What was not computed is named, and is no row."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.dualmap.markdown import plus_minus, table
from benchmarks.dualmap.parts import compared
from headway_cli.compare.plot import svg
from headway_cli.compare.table import estimated_points, estimated_share
from headway_cli.simulation_table import number, seconds, share

Row = Mapping[str, Any]

_HEAD = """# DualMap experiment: results

Written by `python -m benchmarks dualmap`; what they mean is in [dualmap.md](../dualmap.md).
Everything here is **simulated**.  Rates are nominal requests/s; ± is a 95 % interval over windows,
n = windows x tie seeds.  Shed requests count as missed, and have no latency.  Beds are load/engine:

- `conversation` is the real Mooncake conversation trace, `stand-in` a **synthetic stand-in** for
  the tool&agent trace (not the real one), the other loads are generated;
- `910b4` are 8 Ascend 910B4 with Qwen2.5-7B by assumed constants, TTFT <= 5 s; `h100` 8 H100 with
  Llama-3.1-8B by operator tables, TTFT <= 0.57 s.
"""


def files(results: Mapping[str, Any], known: Iterable[str]) -> dict[str, str]:
    """File name -> content."""
    lines = [_HEAD]
    for name in known:
        lines += [f"## {name}", ""]
        found = results.get(name)
        lines += ["Not computed.", ""] if found is None else [*_SHOWN.get(name, _knees)(found), ""]
    written = {"results.md": "\n".join(lines).rstrip() + "\n"}
    if (past := results.get("past-the-knee")) is not None:
        title = f"{past['bed']}, simulated: arrivals with a TTFT within the SLO, {_n(past)}"
        written["past-the-knee.svg"] = svg(title, past)
    return written


def _knees(rows: Sequence[Row]) -> Iterator[str]:
    beds = list(dict.fromkeys(row["bed"] for row in rows))
    for bed in beds:
        yield f"{bed}: rate at 90 % attainment"
        yield ""
        on_bed = [row for row in rows if row["bed"] == bed]
        lead = on_bed[0]
        yield from table(
            ("policy", "n", "rate at 90 %", f"{lead['arm']} is above it by"),
            (
                (
                    row["arm"],
                    f"{row['windows']} x {row['seeds']}",
                    plus_minus(row["rate_per_s"], row["half_width"], 2),
                    "" if row is lead else _above(lead, row),
                )
                for row in on_bed
            ),
        )
        yield ""


def _above(lead: Row, row: Row) -> str:
    found = compared(lead, row)
    shown = plus_minus(found["percent"], found["half_width"], 1)
    return shown if shown == "-" else f"{shown} %"


def _at_rates(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{found['bed']}, {_n(found)}; differences to {found['reference']} are paired"
    yield ""
    yield from table(
        (
            "rate",
            "delivered",
            "policy",
            "in SLO",
            "difference, points",
            "shed",
            "cached",
            "TTFT p50",
            "TTFT p90",
        ),
        (
            (
                f"{row['rate_per_s']:g}",
                _mean(row, "delivered_rate_per_s", number),
                row["policy"],
                estimated_share(row["attainment"]),
                _difference(row, found, estimated_points(row["attainment_difference"])),
                _mean(row, "shed_share", share),
                _mean(row, "cached_share", share),
                _mean(row, "ttft_p50_s", seconds),
                _mean(row, "ttft_p90_s", seconds),
            )
            for row in _by_rate(found)
        ),
    )


def _past(found: Mapping[str, Any]) -> Iterator[str]:
    yield from _at_rates(found)
    for rate in sorted({row["rate_per_s"] for row in found["rows"]}):
        on_rate = [row for row in found["rows"] if row["rate_per_s"] == rate]
        yield ""
        yield f"By prompt tokens at {rate:g}/s: in SLO, median slowdown (TTFT / that when alone)"
        yield ""
        yield from _by_length([(row["policy"], row["by_prompt_tokens"]) for row in on_rate])


def _latencies(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{found['bed']}, {_n(found)}; differences to {found['reference']} are paired"
    yield ""
    yield from table(
        (
            "rate",
            "policy",
            "in SLO",
            "TTFT mean",
            "difference",
            "TPOT mean",
            "difference",
            "E2E p90",
            "difference",
        ),
        (
            (
                f"{row['rate_per_s']:g}",
                row["policy"],
                estimated_share(row["attainment"]),
                *_with_difference(row, found, "ttft_mean_s"),
                *_with_difference(row, found, "tpot_mean_s"),
                *_with_difference(row, found, "e2e_p90_s"),
            )
            for row in _by_rate(found)
        ),
    )


def _by_rate(found: Mapping[str, Any]) -> list[Row]:
    return sorted(found["rows"], key=lambda row: float(row["rate_per_s"]))


def _mean(row: Row, name: str, shown: Callable[[float | None], str]) -> str:
    return shown(None if row[name] is None else row[name]["mean"])


def _with_difference(row: Row, found: Mapping[str, Any], name: str) -> tuple[str, str]:
    apart = row[f"{name}_difference"]
    shown = "-"
    if apart is not None:
        half = apart["half_width"]
        shown = plus_minus(1000 * apart["mean"], None if half is None else 1000 * half, 0) + " ms"
    return _mean(row, name, seconds), _difference(row, found, shown)


def _difference(row: Row, found: Mapping[str, Any], shown: str) -> str:
    return "" if row["policy"] == found["reference"] else shown


def _stale(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    found = dict(sorted(found.items(), key=lambda part: int(part[0])))
    first = next(iter(found.values()))
    rate = first["rows"][0]["rate_per_s"]
    yield f"{first['bed']} at {rate:g}/s, {_n(first)}: in SLO, by age of the cache view in seconds"
    yield ""
    names = [row["policy"] for row in first["rows"]]
    by_age = {age: [row["attainment"] for row in part["rows"]] for age, part in found.items()}
    yield from table(
        ("policy", *by_age),
        (
            (name, *(estimated_share(by_age[age][place]) for age in by_age))
            for place, name in enumerate(names)
        ),
    )


def _whole(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{found['bed']}: one run of {found['requests']:,} requests after warm-up, no interval"
    yield ""
    yield from table(
        ("rate", "delivered", "policy", "in SLO", "shed", "cached", "TTFT p50", "p90", "p99"),
        (
            (
                f"{row['rate_per_s']:g}",
                number(row["report"]["delivered_rate_per_s"]),
                row["arm"],
                share(row["report"]["attainment"]),
                share(row["report"]["requests"]["shed"] / row["report"]["requests"]["arrived"]),
                share(row["report"]["cached_share"]),
                *(seconds(row["report"]["ttft_s"][p]) for p in ("p50", "p90", "p99")),
            )
            for row in found["rows"]
        ),
    )
    for rate in sorted({row["rate_per_s"] for row in found["rows"]}):
        yield ""
        yield f"By prompt tokens at {rate:g}/s: in SLO, median slowdown (TTFT / that when alone)"
        yield ""
        yield from _by_length(
            [
                (row["arm"], row["report"]["by_prompt_tokens"])
                for row in found["rows"]
                if row["rate_per_s"] == rate
            ]
        )


def _by_length(rows: Sequence[tuple[str, Sequence[Row]]]) -> Iterator[str]:
    _, buckets = rows[0]
    heads = [f"from {bucket['from']:,} (n = {bucket['arrived']:,})" for bucket in buckets]
    yield from table(
        ("policy", *heads),
        (
            (
                name,
                *(
                    f"{share(b['attainment'])}, {number(b['slowdown'] and b['slowdown']['p50'])} x"
                    for b in found
                ),
            )
            for name, found in rows
        ),
    )


def _losing(found: Mapping[str, Any]) -> Iterator[str]:
    yield from _knees(found["knees"])
    for name in ("spare-capacity", "decode-heavy"):
        yield f"{name}:"
        yield ""
        yield from _latencies(found[name])
        yield ""


def _n(found: Mapping[str, Any]) -> str:
    return f"n = {found['windows']} x {found['seeds']}"


_SHOWN: Mapping[str, Callable[[Any], Iterator[str]]] = {
    "past-the-knee": _past,
    "orders": _at_rates,
    "ablations": _at_rates,
    "stale-views": _stale,
    "whole": _whole,
    "losing": _losing,
}
