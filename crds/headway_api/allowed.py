"""What a field may hold, in words: read from the schema of the types, so never out of date."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from headway_api.meta import PATTERN_WORDS
from headway_api.nodes import Path
from headway_api.v1alpha1 import KINDS

Schema = Mapping[str, Any]


def fields(kind: str, path: Path) -> list[str]:
    """Names that the mapping at ``path`` may have; empty: it has no fields of its own."""
    return list((_at(kind, path) or {}).get("properties", ()))


def values(kind: str, path: Path) -> list[str]:
    """The strings of an enumeration; empty: it is none."""
    schema = _at(kind, path) or {}
    return [schema["const"]] if "const" in schema else list(schema.get("enum", ()))


def words(kind: str, path: Path) -> str | None:
    """``an integer from 1 to 65535``.  None: there is no such field."""
    schema = _at(kind, path)
    return None if schema is None else _words(kind, schema)


def _words(kind: str, schema: Schema) -> str:
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return one_of(schema["enum"])
    match schema.get("type"):
        case "integer":
            return f"an integer from {schema['minimum']} to {schema['maximum']}"
        case "boolean":
            return "true or false"
        case "string":
            return _string(schema)
        case "array":
            least, most = schema.get("minItems", 0), schema["maxItems"]
            return f"a list of {least} to {most}" if least else f"a list of at most {most}"
        case "object" if "properties" in schema:
            return f"a mapping with {', '.join(schema['properties'])}"
    is_free = schema.get("additionalProperties") is True
    return "a mapping" if is_free else "a mapping of strings to strings"


def one_of(options: Iterable[str]) -> str:
    *most, last = options
    return f"{', '.join(most)} or {last}" if most else last


def _string(schema: Schema) -> str:
    length = f"{schema.get('minLength', 0)} to {schema['maxLength']} characters"
    pattern = schema.get("pattern")
    return f"{length}: {PATTERN_WORDS[pattern]}" if pattern else f"a string of {length}"


@cache
def _schema(kind: str) -> Schema:
    return KINDS[kind].model_json_schema(by_alias=True)


def _at(kind: str, path: Path) -> Schema | None:
    root = _schema(kind)
    node = root
    for part in path:
        if isinstance(part, int):
            child = node.get("items")
        else:
            child = node.get("properties", {}).get(part) or node.get("additionalProperties")
        if not child:
            return None
        node = _resolved(child, root)
    return node


def _resolved(node: Schema, root: Schema) -> Schema:
    """Without ``$ref`` and without the null of an optional field."""
    if options := node.get("anyOf"):
        node = next(option for option in options if option != {"type": "null"})
    if ref := node.get("$ref"):
        definition: Schema = root["$defs"][ref.rpartition("/")[2]]
        return definition
    return node
