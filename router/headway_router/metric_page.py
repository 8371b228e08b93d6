"""Writes ``docs/metrics.md`` from the table, to standard output when run as a program."""

import sys
from collections.abc import Iterable

from headway_router.metric_table import TABLE, Kind, Row

_HEAD = """\
# Metrics of the router

Generated from `headway_router/metric_table.py` by
`python -m headway_router.metric_page > docs/metrics.md`.

`headway router` serves these at `/metrics` on its metrics port, beside the usual `process_*`
series. Times are seconds. `pool` is `namespace/name` of a ModelPool, and empty where no pool could
be told (an unknown model, an unreadable body). No label holds anything that a client sent.
"""


def markdown() -> str:
    """The whole page."""
    rows = ["| series | type | labels | meaning |", "|---|---|---|---|", *map(_line, TABLE)]
    buckets = [_buckets(row) for row in TABLE if row.kind is Kind.HISTOGRAM]
    return "\n".join((_HEAD, *rows, "", "## Buckets", "", *buckets, ""))


def _line(row: Row) -> str:
    labels = "; ".join(
        f"`{label}`: {values}" if isinstance(values, str) else f"`{label}`: {_quoted(values)}"
        for label, values in row.labels.items()
    )
    kind = Kind.GAUGE if row.kind is Kind.READING else row.kind
    return f"| `{row.name}` | {kind} | {labels} | {row.help} |"


def _quoted(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _buckets(row: Row) -> str:
    return f"- `{row.name}`: {', '.join(f'{bound:g}' for bound in row.buckets)}"


if __name__ == "__main__":
    sys.stdout.write(markdown())
