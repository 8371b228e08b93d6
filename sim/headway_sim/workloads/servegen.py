"""Requests of ServeGen's client profiles (github.com/alibaba/ServeGen, Apache-2.0).

A folder, or a tar of it.  Of every client there are two files:

    chunk-N-trace.csv      window start s, rate req/s, cv, Gamma|Weibull or empty, shape, scale
    chunk-N-dataset.json   by window start s: input_tokens, output_tokens as "{tokens: probability}"

A client's arrivals are a renewal process in the time of its own expected arrivals: what lies
between two has mean 1 and the window's distribution and shape (exponential where there is none),
so the recorded rates hold whatever the fitted scale says.  Lengths are drawn each by itself, from
the window they arrive in or the last one before it that has any.  The profiles say nothing of
content: no two prompts share anything.
"""

import ast
import csv
import heapq
import json
import re
import tarfile
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from math import gamma, inf, isfinite
from pathlib import Path
from random import Random
from typing import cast

from headway_sim.errors import InvalidTrace
from headway_sim.workloads.request import Segment, WorkloadRequest

RATE_WINDOW_S = 600.0
_NAME = re.compile(r"chunk-(\d+)-(trace\.csv|dataset\.json)")
_LENGTHS = ("input_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Distribution:
    tokens: tuple[int, ...]
    cumulated: tuple[float, ...]

    def draw(self, rng: Random) -> int:
        place = bisect_right(self.cumulated, rng.random() * self.cumulated[-1])
        return self.tokens[min(place, len(self.tokens) - 1)]


@dataclass(frozen=True, slots=True)
class RateWindow:
    start_s: float
    rate_per_s: float
    pattern: str
    """``Gamma``, ``Weibull`` or nothing."""
    shape: float

    def interval(self, rng: Random) -> float:
        """Of mean 1."""
        if self.pattern == "Gamma":
            return rng.gammavariate(self.shape, 1 / self.shape)
        if self.pattern == "Weibull":
            return rng.weibullvariate(1 / gamma(1 + 1 / self.shape), self.shape)
        return rng.expovariate(1.0)


@dataclass(frozen=True, slots=True)
class Client:
    number: int
    rates: tuple[RateWindow, ...]
    """In order of time."""
    lengths: Mapping[float, tuple[Distribution, Distribution]]
    """Prompt and answer, by window start; not of windows for which nothing was recorded."""


def load(path: Path) -> tuple[Client, ...]:
    """Raises: InvalidTrace: naming the file, and the line where it has lines."""
    files = _files(path)
    found = []
    for number in sorted({number for number, _ in files}):
        pair = {}
        for kind in ("trace.csv", "dataset.json"):
            name = f"chunk-{number}-{kind}"
            if (number, kind) not in files:
                raise InvalidTrace(path, f"{name} is missing")
            pair[kind] = (path / name, files[number, kind])
        found.append(Client(number, _rates(*pair["trace.csv"]), _lengths(*pair["dataset.json"])))
    if not found:
        raise InvalidTrace(path, "has no chunk-N-trace.csv")
    return tuple(found)


def generate(
    clients: Sequence[Client], seed: int, duration_s: float, start_s: float = 0.0
) -> Iterator[WorkloadRequest]:
    """What arrives in so many seconds from ``start_s`` on, in order; the first second is 0."""
    streams = [_arrivals(client, seed, start_s, start_s + duration_s) for client in clients]
    return heapq.merge(*streams, key=lambda request: request.at_s)


def _arrivals(client: Client, seed: int, start_s: float, end_s: float) -> Iterator[WorkloadRequest]:
    rng = Random(f"{seed}/servegen/{client.number}")
    starts = sorted(client.lengths)
    if not starts:
        return
    number = count()
    left: float | None = None
    for window in client.rates:
        at_s = max(window.start_s, start_s)
        until_s = min(window.start_s + RATE_WINDOW_S, end_s)
        if window.rate_per_s == 0:
            continue
        if left is None and at_s < until_s:
            left = window.interval(rng)
        while left is not None and at_s + left / window.rate_per_s < until_s:
            at_s += left / window.rate_per_s
            prompt, answer = client.lengths[starts[max(0, bisect_right(starts, at_s) - 1)]]
            key = f"{seed}/servegen/{client.number}/{next(number)}"
            yield WorkloadRequest(
                at_s=at_s - start_s,
                prompt=(Segment(key, prompt.draw(rng)),),
                output_tokens=answer.draw(rng),
            )
            left = window.interval(rng)
        if left is not None and at_s < until_s:
            left -= (until_s - at_s) * window.rate_per_s


def _files(path: Path) -> dict[tuple[int, str], str]:
    """(client, kind) -> text."""
    found: dict[tuple[int, str], str] = {}
    try:
        if path.is_dir():
            for file in path.iterdir():
                if named := _NAME.fullmatch(file.name):
                    found[int(named[1]), named[2]] = file.read_text(encoding="utf-8")
            return found
        with tarfile.open(path) as archive:
            for member in archive:
                named = _NAME.fullmatch(Path(member.name).name)
                content = archive.extractfile(member) if named and member.isfile() else None
                if named and content is not None:
                    found[int(named[1]), named[2]] = content.read().decode("utf-8")
    except FileNotFoundError:
        raise InvalidTrace(path, "no such file or folder") from None
    except (OSError, EOFError, tarfile.TarError, UnicodeDecodeError) as error:
        raise InvalidTrace(path, f"cannot be read: {error}") from error
    return found


def _rates(path: Path, text: str) -> tuple[RateWindow, ...]:
    windows: list[RateWindow] = []
    for number, row in enumerate(csv.reader(text.splitlines()), start=1):
        try:
            window = _rate_window(row)
        except ValueError as error:
            raise InvalidTrace(path, str(error), line=number) from error
        if windows and window.start_s <= windows[-1].start_s:
            raise InvalidTrace(path, "window start is not after that above", line=number)
        windows.append(window)
    if not windows:
        raise InvalidTrace(path, "has no windows")
    return tuple(windows)


def _rate_window(row: Sequence[str]) -> RateWindow:
    if len(row) != 6:
        raise ValueError(f"expected start, rate, cv, pattern, shape, scale; got {len(row)} fields")
    start_s, rate, shape = (
        _number(name, text)
        for name, text in (("start", row[0]), ("rate", row[1]), ("shape", row[4]))
    )
    pattern = row[3]
    if pattern not in ("", "Gamma", "Weibull"):
        raise ValueError(f"pattern: expected Gamma, Weibull or nothing, got {pattern!r}")
    if pattern and not shape > 0:
        raise ValueError(f"shape: expected a positive number with {pattern}, got {row[4]!r}")
    return RateWindow(start_s, rate, pattern, shape)


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -inf
    if not (isfinite(value) and value >= 0):
        raise ValueError(f"{name}: expected a number of at least 0, got {text!r}")
    return value


def _lengths(path: Path, text: str) -> dict[float, tuple[Distribution, Distribution]]:
    try:
        windows = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidTrace(path, f"not JSON: {error.msg}", line=error.lineno) from error
    if not isinstance(windows, dict) or not windows:
        raise InvalidTrace(path, "expected windows by their start")
    found = {}
    for start, window in windows.items():
        where = f"window {start}"
        if not isinstance(window, dict) or not set(_LENGTHS) <= window.keys():
            keys = ", ".join(window) if isinstance(window, dict) else type(window).__name__
            raise InvalidTrace(path, f"{where}: expected {' and '.join(_LENGTHS)}, got {keys}")
        try:
            start_s = _number("start", start)
            prompt, answer = (_distribution(name, window[name]) for name in _LENGTHS)
        except ValueError as error:
            raise InvalidTrace(path, f"{where}: {error}") from error
        if prompt is not None and answer is not None:
            found[start_s] = (prompt, answer)
    return found


def _distribution(name: str, text: object) -> Distribution | None:
    """None: nothing has a probability."""
    try:
        value = ast.literal_eval(text) if isinstance(text, str) else None
    except (ValueError, SyntaxError):
        value = None
    if not isinstance(value, dict) or not all(_is_weight(*item) for item in value.items()):
        raise ValueError(f"{name}: expected a text as {{tokens: probability}}")
    known = cast("dict[int, float]", value)
    weights = [(max(1, tokens), weight) for tokens, weight in sorted(known.items()) if weight > 0]
    if not weights:
        return None
    return Distribution(
        tuple(tokens for tokens, _ in weights), tuple(accumulate(weight for _, weight in weights))
    )


def _is_weight(tokens: object, weight: object) -> bool:
    return (
        type(tokens) is int
        and tokens >= 0
        and isinstance(weight, int | float)
        and isfinite(weight)
        and weight >= 0
    )
