"""Every error the simulator raises on purpose.

    SimulatorError
    ├── InvalidEngineConfig     a setting of an engine is out of range
    ├── InvalidEngineRequest    the engine cannot serve this request, now or ever
    ├── InvalidLog              a log or a measured run is missing, or does not fit
    ├── InvalidProfile          there can be no such profile, or its file is damaged
    ├── InvalidScenario         a scenario asks for what there is not, or contradicts itself
    ├── InvalidTrace            a trace file is missing, or a line of it does not fit
    ├── InvalidWorkload         a parameter of a workload is out of range
    ├── MissingTables           no operator tables to compile a profile from
    ├── TimeRanBackwards        a driver named an instant that is over
    ├── UnknownName             no GPU or model of that name
    └── UnknownProfile          no engine profile of that name

    BrokenLaw                   a run contradicts itself: a fault of the simulator, not of its input

All but the last are raised at the door, before any state has changed.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path


class SimulatorError(ValueError):
    """The caller gave the simulator something it cannot work with."""


class InvalidEngineConfig(SimulatorError):
    """A setting of an engine is out of range."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field} must be {allowed}, got {value!r}")
        self.field = field


class InvalidEngineRequest(SimulatorError):
    """The engine cannot serve this request, now or ever."""

    def __init__(self, request_id: str, reason: str) -> None:
        super().__init__(f"request {request_id!r}: {reason}")
        self.request_id = request_id


class InvalidLog(SimulatorError):
    """A log or a measured run is missing, or does not fit."""

    def __init__(self, path: Path, reason: str, line: int | None = None) -> None:
        where = f"{path}" if line is None else f"{path}, line {line}"
        super().__init__(f"{where}: {reason}")


class InvalidProfile(SimulatorError):
    """There can be no such profile, or its file is damaged."""


class InvalidScenario(SimulatorError):
    """A scenario asks for what there is not, or contradicts itself."""


class InvalidTrace(SimulatorError):
    """A trace file is missing, or a line of it does not fit."""

    def __init__(self, path: Path, reason: str, line: int | None = None) -> None:
        where = f"{path}" if line is None else f"{path}, line {line}"
        super().__init__(f"{where}: {reason}")
        self.line = line


class InvalidWorkload(SimulatorError):
    """A parameter of a workload is out of range."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field} must be {allowed}, got {value!r}")
        self.field = field


class MissingTables(SimulatorError):
    """There are no operator tables to compile a profile from."""


class TimeRanBackwards(SimulatorError):
    """A driver named an instant that is over."""

    def __init__(self, wanted_ns: int, now_ns: int) -> None:
        super().__init__(f"the engine has reached {now_ns} ns, it cannot go back to {wanted_ns} ns")


class UnknownName(SimulatorError):
    """No GPU or model of that name."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"no {kind} {name!r}; known: {', '.join(sorted(known))}")


class UnknownProfile(SimulatorError):
    """No engine profile of that name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        near = get_close_matches(name.lower(), known, n=5, cutoff=0.3)
        hint = f"near: {', '.join(near)}; " if near else ""
        super().__init__(
            f"no engine profile {name!r}; {hint}`headway profile list` names all there are"
        )
        self.name = name


class BrokenLaw(AssertionError):
    """A run contradicts itself: a fault of the simulator, not of its input."""
