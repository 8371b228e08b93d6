"""JSON objects, one per line."""

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from headway_sim.errors import InvalidLog

Line = tuple[int, dict[str, Any]]
"""Its number, from 1, and what it says."""


def read_lines(path: Path, columns: Sequence[str]) -> Iterator[Line]:
    """Of ``.jsonl`` or ``.jsonl.gz``; ``columns`` must be there.  Raises: InvalidLog."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise InvalidLog(path, f"not JSON: {error}", number) from error
                if not isinstance(row, dict):
                    raise InvalidLog(path, "not an object", number)
                if missing := [name for name in columns if name not in row]:
                    raise InvalidLog(path, f"has no {', '.join(missing)}", number)
                yield number, row
    except FileNotFoundError:
        raise InvalidLog(path, "no such file") from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise InvalidLog(path, f"cannot be read: {error}") from error


def number_in(path: Path, line: Line, column: str, least: float, *, whole: bool = False) -> float:
    """Raises: InvalidLog: it is not one, or too small."""
    number, row = line
    value = row[column]
    is_number = type(value) is int or (type(value) is float and isfinite(value) and not whole)
    if not is_number or value < least:
        kind = "a whole number" if whole else "a number"
        raise InvalidLog(path, f"{column} must be {kind} >= {least:g}, got {value!r}", number)
    return float(value)
