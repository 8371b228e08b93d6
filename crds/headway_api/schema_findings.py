"""pydantic's errors in the words of this project: what is wrong with the value, what is allowed."""

import difflib
import re
from collections.abc import Iterable, Iterator

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from headway_api import allowed
from headway_api.nodes import Finding, Node, Path, ScalarNode, field_name, find, line_of
from headway_api.planned import NOT_YET, is_planned, planned_value

_INDEX = re.compile(r"\[\d+\]")
_MAX_SHOWN = 60


def findings_of(error: ValidationError, kind: str, root: Node) -> Iterator[Finding]:
    """One finding per error, each with the line of ``root`` that is to be changed."""
    for details in error.errors(include_url=False):
        path = _path(details)
        match details["type"]:
            case "too_short" | "too_long" if _has_allowed_length(details):
                continue
            case "extra_forbidden":
                yield unknown_field(kind, path, root)
            case "missing":
                yield Finding(path, line_of(root, path), "missing", allowed.words(kind, path))
            case _:
                yield Finding(
                    path,
                    line_of(root, path),
                    _wrong(details, kind, path, root),
                    allowed.words(kind, path),
                )


def _path(details: ErrorDetails) -> Path:
    """pydantic marks what is wrong with a key, not with its value, by a last step of its own."""
    path = details["loc"]
    is_of_key = path[-1:] == ("[key]",) and details["type"] != "extra_forbidden"
    return path[:-1] if is_of_key else path


def _has_allowed_length(details: ErrorDetails) -> bool:
    """pydantic counts the entries that are valid; the others have findings of their own."""
    length, bounds = len(details["input"]), details.get("ctx", {})
    return bool(bounds.get("min_length", 0) <= length <= bounds.get("max_length", length))


def unknown_field(kind: str, path: Path, root: Node) -> Finding:
    *holder, name = path
    known = allowed.fields(kind, tuple(holder))
    if is_planned(kind, generic(tuple(holder)), str(name)):
        problem = NOT_YET
    else:
        problem = "unknown field" + suggestion(str(name), known)
    return Finding(path, line_of(root, path), problem, ", ".join(known))


def suggestion(word: str, known: Iterable[str]) -> str:
    """``, did you mean "port"?`` or nothing."""
    by_lower = {option.lower(): option for option in known}
    near = difflib.get_close_matches(word.lower()[:100], by_lower, n=1, cutoff=0.6)
    return f", did you mean {by_lower[near[0]]!r}?" if near else ""


def generic(path: Path) -> str:
    """``spec.groups[].name``: the field whatever the index."""
    return _INDEX.sub("[]", field_name(path))


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


def _wrong(details: ErrorDetails, kind: str, path: Path, root: Node) -> str:
    value = details["input"]
    match details["type"]:
        case "enum" | "literal_error":
            return _not_an_option(value, kind, path, root)
        case "int_type" | "bool_type" | "string_type":
            return _wrong_type(value, details["type"], find(root, path))
        case "greater_than_equal":
            return f"{value} is too small"
        case "less_than_equal":
            return f"{value} is too large"
        case "string_too_short":
            return "is empty" if value == "" else f"{shown(value)} is too short"
        case "string_too_long":
            return f"{shown(value)} is too long, {len(value)} characters"
        case "string_pattern_mismatch":
            return f"{shown(value)} does not match"
        case "too_short" | "too_long":
            return f"has {len(value)} entries"
        case "model_type" | "dict_type" | "tuple_type":
            return f"{_noun(value)} where {_WANTED[details['type']]} is wanted"
        case _:
            return details["msg"][:1].lower() + details["msg"][1:]


_WANTED = {"model_type": "a mapping", "dict_type": "a mapping", "tuple_type": "a list"}


def _not_an_option(value: object, kind: str, path: Path, root: Node) -> str:
    if reason := planned_value(generic(path), value):
        return f"{value} is {reason}"
    if isinstance(value, str):
        return f"{shown(value)} is not allowed" + suggestion(value, allowed.values(kind, path))
    return _wrong_type(value, "string_type", find(root, path))


def _wrong_type(value: object, wanted: str, node: Node | None) -> str:
    """YAML decides the type of a plain word: say so, and how to get a string."""
    noun = {"string_type": "a string", "bool_type": "a boolean"}.get(wanted, "an integer")
    if isinstance(value, bool | int | float):
        text = node.text[:_MAX_SHOWN] if isinstance(node, ScalarNode) else str(value)
        what = "a boolean" if isinstance(value, bool) else "a number"
        if wanted == "string_type":
            return f'{text} is {what} in YAML; for the string write "{text}" in quotes'
        return f"{text} is {what} in YAML, not {noun}"
    if isinstance(value, str):
        return f"{shown(value)} is a string, not {noun}"
    return f"{_noun(value)}, not {noun}"


def _noun(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return shown(value)
