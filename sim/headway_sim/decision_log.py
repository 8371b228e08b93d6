"""Reads a router's decision log, and replays a complete one through a core of its own.

The format is that of `headway_core.recording`; `docs/decisions.md` describes it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from pydantic import TypeAdapter, ValidationError

from headway_core.facts import InferenceRequest
from headway_core.policy import Fleet
from headway_core.recording import ARGUMENTS, OUTCOMES, Call
from headway_core.router import Router
from headway_sim.errors import InvalidLog
from headway_sim.pickers import Answer, ProductionPicker, answer_to
from headway_sim.validation.lines import Line, read_lines

VERSION = 1
_ARGUMENTS = {name: TypeAdapter[Any](kind) for name, kind in ARGUMENTS.items()}
_OUTCOMES = {name: TypeAdapter[Any](kind) for name, kind in OUTCOMES.items()}


@dataclass(frozen=True, slots=True)
class Start:
    """Where a router began to log.  ``seed``: of its core's randomness."""

    seed: str
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """A call that is answered otherwise than it was."""

    number: int
    """From 0."""
    call: Call
    answers: tuple[Answer, ...]


def read(path: Path) -> Iterator[Start | Call]:
    """Lines that have an ``event`` are other programs' on the same standard output.

    Raises:
        InvalidLog: naming the line.
    """
    for line in read_lines(path, ()):
        if "event" not in line[1]:
            yield _read(path, line)


def replay(path: Path) -> tuple[int, list[Difference]]:
    """How many calls there are, and which of them a fresh core answers otherwise.

    Raises:
        InvalidLog: it cannot be read, is a sample, or has several routers'.
    """
    lines = read(path)
    start = next(lines, None)
    if not isinstance(start, Start):
        raise InvalidLog(path, "does not begin with the start of a router", 1)
    if not start.is_complete:
        raise InvalidLog(path, "is a sample; a replay needs one of --decision-log-complete")
    calls = []
    for line in lines:
        if isinstance(line, Start):
            raise InvalidLog(path, "has the calls of several routers")
        calls.append(line)
    return len(calls), differences(start.seed, calls)


def differences(seed: str, calls: Iterable[Call]) -> list[Difference]:
    """Of the calls in the order of time, those that a fresh core answers otherwise."""
    picker = ProductionPicker(Router(Random(seed)))
    found = []
    for number, call in enumerate(calls):
        answers = _asked(picker, call)
        if answers != tuple(map(answer_to, call.outcomes)):
            found.append(Difference(number, call, answers))
    return found


def _asked(picker: ProductionPicker, call: Call) -> tuple[Answer, ...]:
    match call.argument:
        case None:
            return tuple(picker.tick(call.at_s))
        case Fleet():
            return tuple(picker.apply(call.argument, call.at_s))
        case InferenceRequest():
            return (picker.place(call.argument, call.at_s),)
        case _:
            return tuple(picker.observe(call.argument, call.at_s))


def _read(path: Path, line: Line) -> Start | Call:
    number, row = line
    if row.get("version") != VERSION:
        reason = f"has the version {row.get('version')!r} of the format, not {VERSION}"
        raise InvalidLog(path, reason, number)
    try:
        if row["call"] == "start":
            return Start(str(row["seed"]), bool(row["is_complete"]))
        kind = _ARGUMENTS[row["call"]]
        return Call(
            at_s=float(row["at_s"]),
            argument=kind.validate_python(row["argument"]),
            outcomes=tuple(
                _OUTCOMES[name].validate_python(fields)
                for outcome in row["outcomes"]
                for name, fields in outcome.items()
            ),
        )
    except KeyError as error:
        raise InvalidLog(path, f"has no or an unknown {error.args[0]}", number) from None
    except (ValidationError, TypeError, AttributeError, ValueError) as error:
        raise InvalidLog(path, f"is no call: {error}", number) from error
