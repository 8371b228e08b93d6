"""A log of an engine's steps, and the constants that fit it: one JSON object per line.

    prefill_chunks    [[new tokens, tokens computed before], ...]
    decodes, kv_tokens
    seconds           from the start of the step to the start of the next one

The fit is least squares on relative errors with coefficients >= 0:

    seconds = step_ms + step_ms_per_sequence * sequences + theta * tables
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from headway_sim.errors import InvalidLog
from headway_sim.profiles.constants import Constants
from headway_sim.profiles.least_squares import nonnegative
from headway_sim.profiles.operator_step import OperatorStep
from headway_sim.validation.lines import Line, number_in, read_lines

COLUMNS = ("prefill_chunks", "decodes", "kv_tokens", "seconds")
_THETAS = ("theta_gemm", "theta_attention", "theta_communication")


@dataclass(frozen=True, slots=True)
class LoggedStep:
    prefill_chunks: tuple[tuple[int, int], ...]
    decodes: int
    kv_tokens: int
    seconds: float

    @property
    def sequences(self) -> int:
        return len(self.prefill_chunks) + self.decodes

    def priced(self, model: OperatorStep) -> float:
        """Milliseconds."""
        return 1e3 * model.step(self.prefill_chunks, self.decodes, self.kv_tokens)


@dataclass(frozen=True, slots=True)
class Fitted:
    constants: Constants
    steps: int
    median_error: float
    worst_error: float
    """Signed; both relative, of the steps that were fitted to."""


def read_steps(path: Path) -> tuple[LoggedStep, ...]:
    """Raises: InvalidLog: naming file, line and column."""
    steps = tuple(_step(path, line) for line in read_lines(path, COLUMNS))
    if not steps:
        raise InvalidLog(path, "has no steps")
    return steps


def fit_steps(
    steps: Sequence[LoggedStep], model: OperatorStep, source: str, *, with_thetas: bool
) -> Fitted:
    """``with_thetas``: multipliers of the tables too, for logs of many kinds of batches."""
    without_host = replace(model.constants, theta_host=1.0, step_ms=0.0, step_ms_per_sequence=0.0)
    parts = _parts(steps, model, without_host) if with_thetas else {}
    bare = model.with_constants(without_host)
    fixed = [0.0 if with_thetas else step.priced(bare) for step in steps]
    columns = [[1.0, float(step.sequences)] for step in steps]
    for row, *shares in zip(columns, *parts.values(), strict=True):
        row += shares
    measured = np.array([1e3 * step.seconds for step in steps])
    scaled = np.array(columns) / measured[:, None]
    found = nonnegative(scaled, (measured - np.array(fixed)) / measured)
    names = ("step_ms", "step_ms_per_sequence", *parts)
    changes: dict[str, Any] = dict(zip(names, found.tolist(), strict=True))
    constants = replace(without_host, **changes, source=source)
    after = model.with_constants(constants)
    errors = [step.priced(after) / (1e3 * step.seconds) - 1 for step in steps]
    return Fitted(
        constants=constants,
        steps=len(steps),
        median_error=median(map(abs, errors)),
        worst_error=max(errors, key=abs),
    )


def _parts(
    steps: Sequence[LoggedStep], model: OperatorStep, bare: Constants
) -> dict[str, list[float]]:
    """Milliseconds of each theta's part of every step: they add up, so a doubled one shows it."""
    thetas: dict[str, Any] = dict.fromkeys(_THETAS, 1.0)
    ones = replace(bare, **thetas)
    whole = [step.priced(model.with_constants(ones)) for step in steps]
    parts = {}
    for theta in _THETAS:
        thetas = {theta: 2.0}
        doubled = model.with_constants(replace(ones, **thetas))
        parts[theta] = [step.priced(doubled) - ms for step, ms in zip(steps, whole, strict=True)]
    if not any(parts["theta_communication"]):
        del parts["theta_communication"]
    return parts


def _step(path: Path, line: Line) -> LoggedStep:
    number, row = line
    if unknown := row.keys() - set(COLUMNS):
        raise InvalidLog(path, f"unknown {', '.join(sorted(unknown))}", number)
    chunks = row["prefill_chunks"]
    is_shaped = isinstance(chunks, list) and all(
        isinstance(chunk, list)
        and len(chunk) == 2
        and all(type(tokens) is int for tokens in chunk)
        and chunk[0] >= 1
        and chunk[1] >= 0
        for chunk in chunks
    )
    if not is_shaped:
        raise InvalidLog(path, "prefill_chunks must be pairs [new >= 1, before >= 0]", number)
    step = LoggedStep(
        prefill_chunks=tuple((new, before) for new, before in chunks),
        decodes=int(number_in(path, line, "decodes", 0, whole=True)),
        kv_tokens=int(number_in(path, line, "kv_tokens", 0, whole=True)),
        seconds=number_in(path, line, "seconds", 1e-9),
    )
    if step.sequences == 0:
        raise InvalidLog(path, "a step of nothing", number)
    return step
