"""Reads an Azure LLM inference trace (AzurePublicDataset, 2023).

CC-BY 4.0; credit: Patel et al., Splitwise, ISCA'24.
CSV, ``.csv`` or ``.csv.gz``: ``TIMESTAMP`` (date and time, UTC), ``ContextTokens``,
``GeneratedTokens``.  The trace says nothing of content: no two prompts share anything.  Nothing is
repaired or left out: a line that does not fit is an error.
"""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from headway_sim.errors import InvalidTrace
from headway_sim.workloads.lines import text_lines
from headway_sim.workloads.request import Segment, WorkloadRequest

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


def load(path: Path) -> tuple[WorkloadRequest, ...]:
    """All requests of the trace; the first arrives at 0.

    Raises:
        InvalidTrace: naming the file and the line.
    """
    requests: list[WorkloadRequest] = []
    start_s: float | None = None
    for number, row in enumerate(csv.reader(text_lines(path)), start=1):
        try:
            if number == 1:
                _check_columns(row)
                continue
            at_s, prompt_tokens, output_tokens = _values(row)
        except ValueError as error:
            raise InvalidTrace(path, str(error), line=number) from error
        start_s = at_s if start_s is None else start_s
        if requests and at_s - start_s < requests[-1].at_s:
            raise InvalidTrace(path, "TIMESTAMP is before that of the line above", line=number)
        requests.append(
            WorkloadRequest(
                at_s=at_s - start_s,
                prompt=(Segment(f"azure/{number}", prompt_tokens),),
                output_tokens=output_tokens,
            )
        )
    if not requests:
        raise InvalidTrace(path, "no requests")
    return tuple(requests)


def _check_columns(row: Sequence[str]) -> None:
    if tuple(row) != COLUMNS:
        raise ValueError(f"expected the columns {', '.join(COLUMNS)}, got {', '.join(row)}")


def _values(row: Sequence[str]) -> tuple[float, int, int]:
    if len(row) != len(COLUMNS):
        raise ValueError(f"expected {len(COLUMNS)} fields, got {len(row)}")
    return _seconds(row[0]), _tokens(row, 1), _tokens(row, 2)


def _seconds(text: str) -> float:
    """Python's dates end at microseconds, the trace's at tenths of them."""
    whole, _, fraction = text.partition(".")
    try:
        at = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        return at.timestamp() + (float(f"0.{fraction}") if fraction else 0.0)
    except ValueError:
        raise ValueError(
            f"TIMESTAMP: expected a time as 2023-11-16 18:17:03.9799600, got {text!r}"
        ) from None


def _tokens(row: Sequence[str], column: int) -> int:
    text = row[column]
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{COLUMNS[column]}: expected an integer of at least 1, got {text!r}")
    return int(text)
