"""From YAML text to nodes: what configuration needs of YAML, and nothing that surprises.

Strings, decimal numbers, booleans, null, lists, mappings with distinct string keys.  Anything that
YAML versions read differently is refused, and so is text whose tree is far larger than the text
(aliases of aliases) or deeper than any document.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml
from yaml import events
from yaml.resolver import Resolver

from headway_api.nodes import Finding, ListNode, MapNode, Node, Path, Scalar, ScalarNode

MAX_DEPTH = 32
MAX_NODES = 200_000
"""Scalars, lists and mappings of one text, aliases counted with all that they stand for."""

_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER = Resolver()
_PREFIX = "tag:yaml.org,2002:"
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Tree:
    """One YAML document.  ``findings`` are about values that stand in ``root`` all the same."""

    root: Node
    findings: tuple[Finding, ...]


class Unreadable(Exception):
    """The text is no YAML from here on, or more than we read.  Internal to ``headway_api``."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.problem)
        self.finding = finding


def read_trees(text: str) -> Iterator[Tree]:
    """Yield the documents of ``text``.

    Raises:
        Unreadable: when the next document cannot be read; there are none after it.
    """
    if bad := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, bad.start()) + 1
        raise Unreadable(Finding((), line, f"not YAML: the character {bad.group()!r}"))
    try:
        yield from _Reader(text).trees()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(f"{error.context or ''} {error.problem or ''}".split())
        line = mark.line + 1 if mark else 1
        last = max(1, len(text.splitlines()))  # the mark of an early end is behind the text
        raise Unreadable(Finding((), min(line, last), f"not YAML: {what}")) from error


class _Reader:
    """Turns the parser's events into nodes.  Recursive, as the depth is bounded."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_LOADER)
        self._anchors: dict[str, Node | None] = {}
        self._findings: list[Finding] = []
        self._nodes = 0

    def trees(self) -> Iterator[Tree]:
        for event in self._events:
            if isinstance(event, events.DocumentStartEvent):
                self._anchors, self._findings = {}, []
                root = self._node(next(self._events), ())
                yield Tree(root, tuple(self._findings))

    def _node(self, event: yaml.Event, path: Path) -> Node:
        line = _line(event)
        self._bound_depth(len(path), path, line)
        if isinstance(event, events.AliasEvent):
            return self._alias(str(event.anchor), path, line)
        anchor = event.anchor if isinstance(event, events.NodeEvent) else None
        if anchor is not None:
            self._anchors[anchor] = None
        node = self._value(event, path, line)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _value(self, event: yaml.Event, path: Path, line: int) -> Node:
        self._count(1, path, line)
        match event:
            case events.ScalarEvent():
                return self._scalar(event, path, line)
            case events.SequenceStartEvent():
                self._standard_tag(event.tag, "seq", path, line)
                return self._list(path, line)
            case events.MappingStartEvent():
                self._standard_tag(event.tag, "map", path, line)
                return self._map(path, line)
        raise AssertionError(f"the parser gave {event} for a value")

    def _list(self, path: Path, line: int) -> ListNode:
        items: list[Node] = []
        while not isinstance(event := next(self._events), events.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        size = 1 + sum(item.size for item in items)
        return ListNode(line, tuple(items), size, _depth(items))

    def _map(self, path: Path, line: int) -> MapNode:
        entries: dict[str, Node] = {}
        lines: dict[str, int] = {}
        values: list[Node] = []
        while not isinstance(event := next(self._events), events.MappingEndEvent):
            key, key_line = self._key(event, path)
            value = self._node(next(self._events), (*path, "?" if key is None else key))
            values.append(value)
            if key is None:
                continue
            if key in entries:
                self._find(
                    (*path, key), key_line, f"written twice, first in line {lines[key]}", "once"
                )
                continue
            entries[key], lines[key] = value, key_line
        size = 1 + sum(value.size for value in values)
        return MapNode(line, entries, lines, size, _depth(values))

    def _key(self, event: yaml.Event, path: Path) -> tuple[str | None, int]:
        """None: cannot be the name of a field; there is a finding."""
        line = _line(event)
        node = self._node(event, (*path, "?"))
        if not isinstance(node, ScalarNode):
            self._find(path, line, "a list or mapping as the name of a field", "a string")
            return None, line
        if isinstance(event, events.ScalarEvent) and event.value == "<<" and event.implicit[0]:
            self._find(path, line, "merge keys (<<) are not supported", "the fields written out")
            return None, line
        if not isinstance(node.value, str):
            self._find(
                path,
                line,
                f"{node.text!r} as the name of a field is {_yaml_type(node.value)} in YAML",
                f'a string: "{node.text}" in quotes',
            )
            return None, line
        return node.value, line

    def _scalar(self, event: yaml.ScalarEvent, path: Path, line: int) -> ScalarNode:
        tag = event.tag
        if tag is None or tag == "!":
            tag = _RESOLVER.resolve(  # type: ignore[no-untyped-call]
                yaml.ScalarNode, event.value, event.implicit
            )
        text = event.value
        match tag.removeprefix(_PREFIX):
            case "str" | "timestamp" | "value" | "merge":
                return ScalarNode(line, text, text)
            case "null":
                return ScalarNode(line, None, text)
            case "bool" if text.lower() in _BOOLEANS:
                return ScalarNode(line, _BOOLEANS[text.lower()], text)
            case "int" if _DECIMAL.fullmatch(text):
                return ScalarNode(line, int(text), text)
            case "int":
                self._find(
                    path,
                    line,
                    f"{text[:40]!r} is a number that YAML versions read differently",
                    "a decimal number of at most 19 digits, or a string in quotes",
                )
                return ScalarNode(line, 0, text)
            case "float" if _FLOAT.fullmatch(text):
                return ScalarNode(line, float(text), text)
            case "float":
                return ScalarNode(line, float("nan"), text)
            case _:
                self._standard_tag(tag, "str", path, line)
                return ScalarNode(line, text, text)

    def _alias(self, anchor: str, path: Path, line: int) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            what = "contains itself" if anchor in self._anchors else "has no anchor before it"
            raise Unreadable(Finding(path, line, f"the alias {anchor!r} {what}"))
        self._count(node.size, path, line)
        self._bound_depth(len(path) + node.depth, path, line)
        return node

    def _count(self, nodes: int, path: Path, line: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise Unreadable(
                Finding(
                    path[:4],
                    line,
                    "too many values, aliases counted with all that they stand for",
                    f"{MAX_NODES} in one file",
                )
            )

    def _bound_depth(self, depth: int, path: Path, line: int) -> None:
        if depth > MAX_DEPTH:
            allowed = f"{MAX_DEPTH} levels at most"
            raise Unreadable(Finding(path[:4], line, "nested too deeply", allowed))

    def _standard_tag(self, tag: str | None, kind: str, path: Path, line: int) -> None:
        if tag not in (None, "!", _PREFIX + kind):
            self._find(path, line, f"the tag {tag!r} is not supported", "values without a tag")

    def _find(self, path: Path, line: int, problem: str, allowed: str) -> None:
        self._findings.append(Finding(path, line, problem, allowed))


def _yaml_type(value: Scalar) -> str:
    match value:
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case None:
            return "nothing"
        case str():
            return "a string"


def _depth(children: list[Node]) -> int:
    return 1 + max((child.depth for child in children), default=0)


def _line(event: yaml.Event) -> int:
    """From 1.  Every event of a parsed text has a mark."""
    return event.start_mark.line + 1 if event.start_mark else 1
