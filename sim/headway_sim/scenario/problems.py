"""What is wrong with a scenario file, in the manner of the API: file, line, field, allowed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel, ValidationError

from headway_api import Problem
from headway_api.nodes import Finding, Node, Path, find, line_of
from headway_sim.errors import InvalidScenario, SimulatorError


class InvalidScenarioFile(InvalidScenario):
    """``problems`` has all of them; never empty."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class Places:
    """Where the fields of one file stand."""

    def __init__(self, file: str, root: Node) -> None:
        self._file = file
        self._root = root

    def problem(self, path: Path, problem: str, allowed: str | None = None) -> Problem:
        return Finding(path, line_of(self._root, path), problem, allowed).of(self._file)

    def problems(self, error: ValidationError, shape: type[BaseModel]) -> list[Problem]:
        """One for each field."""
        found: dict[Path, Problem] = {}
        for details in error.errors(include_url=False):
            path: Path = details["loc"]
            kind = details["type"]
            if kind == "extra_forbidden":
                allowed = ", ".join(_fields(shape, path[:-1]))
                found.setdefault(path, self.problem(path, "unknown field", allowed))
                continue
            if kind == "missing":
                found.setdefault(path, self.problem(path, "missing"))
                continue
            while path and find(self._root, path) is None:
                path = path[:-1]  # pydantic adds which form of a value it tried
            message = details["msg"].removeprefix("Input should be ")
            value = repr(details["input"])
            shown = value if len(value) <= 60 else value[:57] + "..."
            found.setdefault(path, self.problem(path, f"{shown} is not allowed", message))
        return list(found.values())

    @contextmanager
    def of(self, *path: str | int) -> Iterator[None]:
        """What is refused in the block is said of that field."""
        try:
            yield
        except InvalidScenarioFile:
            raise
        except SimulatorError as error:
            raise InvalidScenarioFile([self.problem(path, str(error))]) from error


def _fields(shape: type[BaseModel], path: Path) -> list[str]:
    """Names that the mapping at ``path`` may have."""
    root = shape.model_json_schema(by_alias=True)
    node: Mapping[str, Any] = root
    for part in path:
        child = node.get("items") if isinstance(part, int) else node["properties"].get(part)
        node = _resolved(child or {}, root)
    return list(node.get("properties", ()))


def _resolved(node: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without ``$ref`` and without the null of an optional field."""
    if options := node.get("anyOf"):
        node = next(option for option in options if option != {"type": "null"})
    if ref := node.get("$ref"):
        definition: Mapping[str, Any] = root["$defs"][ref.rpartition("/")[2]]
        return definition
    return node
