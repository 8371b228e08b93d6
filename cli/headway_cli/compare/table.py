"""A comparison as lines of text."""

from collections.abc import Iterator, Mapping
from typing import Any

from headway_cli.simulation_table import number, seconds

Estimated = Mapping[str, Any]


def rows(name: str, summed: Mapping[str, Any]) -> Iterator[str]:
    """Intervals are 95 %, over seeds."""
    reference = summed["reference"]
    yield f"{name}: share of arrivals within their SLO, difference to {reference} (seed by seed)"
    yield ""
    heads = ("rate", "in SLO", f"vs {reference}"[:18], "TTFT p50", "TTFT p90", "cached", "shed")
    yield f"  {'policy':<24}" + "".join(
        f"{head:>{width}}" for head, width in zip(heads, _WIDTHS, strict=True)
    )
    last = None
    for row in sorted(summed["rows"], key=lambda row: row["rate_per_s"] or 0.0):
        if last is not None and row["rate_per_s"] != last:
            yield ""
        last = row["rate_per_s"]
        is_reference = row["policy"] == reference
        shown = (
            "-" if row["rate_per_s"] is None else f"{row['rate_per_s']:g}",
            estimated_share(row["attainment"]),
            "" if is_reference else estimated_points(row["attainment_difference"]),
            _seconds(row["ttft_p50_s"]),
            _seconds(row["ttft_p90_s"]),
            estimated_share(row["cached_share"], with_width=False),
            estimated_share(row["shed_share"], with_width=False),
        )
        yield f"  {row['policy'][:24]:<24}" + "".join(
            f"{value:>{width}}" for value, width in zip(shown, _WIDTHS, strict=True)
        )
    knees = summed["rate_at_90_percent"]
    if any(knee is not None for knee in knees.values()):
        yield ""
        yield "  rate at which 90 % are within their SLO"
        for policy, knee in knees.items():
            yield f"  {policy[:24]:<24}{number(knee):>10}"


_WIDTHS = (10, 18, 20, 10, 10, 10, 10)


def estimated_share(found: Estimated | None, *, with_width: bool = True) -> str:
    if found is None:
        return "-"
    half = found["half_width"]
    width = f" ± {100 * half:.1f}" if with_width and half is not None else ""
    return f"{100 * found['mean']:.1f}{width} %"


def estimated_points(found: Estimated | None) -> str:
    if found is None:
        return "-"
    half = found["half_width"]
    width = "" if half is None else f" ± {100 * half:.1f}"
    return f"{100 * found['mean']:+.1f}{width}"


def _seconds(found: Estimated | None) -> str:
    return "-" if found is None else seconds(found["mean"])
