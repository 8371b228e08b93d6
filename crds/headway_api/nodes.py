"""Plain values that know the line they were written in, and where a field of them is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from headway_api.errors import Problem

Path = tuple[str | int, ...]
Scalar = str | int | float | bool | None

_BARE_KEY = re.compile(r"[A-Za-z0-9_./-]{1,80}")


@dataclass(frozen=True, slots=True)
class ScalarNode:
    line: int
    value: Scalar
    text: str
    """As written, without quotes: ``off`` for False."""
    size: int = 1
    """Nodes in it, itself included; likewise ``depth`` is of what is inside."""
    depth: int = 0


@dataclass(frozen=True, slots=True)
class ListNode:
    line: int
    items: tuple["Node", ...]
    size: int
    depth: int


@dataclass(frozen=True, slots=True)
class MapNode:
    line: int
    entries: Mapping[str, "Node"]
    key_lines: Mapping[str, int]
    size: int
    depth: int


Node = ScalarNode | ListNode | MapNode


@dataclass(frozen=True, slots=True)
class Finding:
    """A ``Problem`` that does not know its file yet."""

    path: Path
    line: int | None
    problem: str
    allowed: str | None = None

    def of(self, file: str) -> Problem:
        return Problem(
            file=file,
            line=self.line,
            field=field_name(self.path) if self.path else None,
            problem=self.problem,
            allowed=self.allowed,
        )


def field_name(path: Path) -> str:
    """``("spec", "groups", 0, "name")`` -> ``spec.groups[0].name``."""
    name = ""
    for part in path:
        if isinstance(part, int):
            name += f"[{part}]"
        elif _BARE_KEY.fullmatch(part):
            name += f".{part}" if name else part
        else:
            name += f"[{part[:80]!r}]"
    return name


def plain(node: Node) -> object:
    """The value without its lines."""
    match node:
        case ScalarNode():
            return node.value
        case ListNode():
            return [plain(item) for item in node.items]
        case MapNode():
            return {key: plain(value) for key, value in node.entries.items()}


def find(root: Node, path: Path) -> Node | None:
    """What stands at ``path``; None: nothing does."""
    node: Node | None = root
    for part in path:
        match node, part:
            case MapNode(), str():
                node = node.entries.get(part)
            case ListNode(), int() if part < len(node.items):
                node = node.items[part]
            case _:
                return None
    return node


def line_of(root: Node, path: Path) -> int:
    """Where a reader should look: the value, the key of a list or mapping, else what is around."""
    node = find(root, path)
    if node is None:
        return line_of(root, path[:-1])
    if path and not isinstance(node, ScalarNode):
        parent = find(root, path[:-1])
        if isinstance(parent, MapNode):
            return parent.key_lines[str(path[-1])]
    return node.line
