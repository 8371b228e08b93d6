"""From pydantic's JSON schema to a structural schema, the dialect of CustomResourceDefinitions.

Without references, unions with null, titles and constants; closed objects, as the API server
prunes what it does not know; ``default: {}`` where an object's fields have defaults, without which
the API server would never fill those in.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

_KEPT = (
    "description",
    "enum",
    "format",
    "maximum",
    "maxItems",
    "maxLength",
    "maxProperties",
    "minimum",
    "minItems",
    "minLength",
    "minProperties",
    "pattern",
    "required",
    "type",
)
_OTHERWISE_HANDLED = {
    "$defs",
    "additionalProperties",
    "anyOf",
    "const",
    "default",
    "items",
    "properties",
    "propertyNames",
    "title",
}
"""Bounds of a mapping's keys have no counterpart; what uses the keys checks them."""
_INT32_MAX = 2**31 - 1


class NotStructural(Exception):
    """The types say something that a structural schema cannot."""


def structural(model: type[BaseModel]) -> Schema:
    """Raises: NotStructural: names the field."""
    root = model.model_json_schema(by_alias=True)
    return _converted(root, root, model.__name__)


def _converted(node: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Schema:
    node = _resolved(node, root, path)
    known = {*_KEPT, *_OTHERWISE_HANDLED}
    if strange := [key for key in node if key not in known and not key.startswith("x-kubernetes-")]:
        raise NotStructural(f"{path}: {', '.join(strange)}")
    result: Schema = {key: node[key] for key in _KEPT if key in node}
    result |= {key: value for key, value in node.items() if key.startswith("x-kubernetes-")}
    if "const" in node:
        result["enum"] = [node["const"]]
    if "description" in result:
        result["description"] = " ".join(result["description"].split())
    match node.get("type"):
        case "object" if "properties" in node:
            result["properties"] = {
                name: _converted(child, root, f"{path}.{name}")
                for name, child in node["properties"].items()
            }
        case "object" if isinstance(values := node.get("additionalProperties"), Mapping):
            result["additionalProperties"] = _converted(values, root, f"{path}{{}}")
        case "object" if "x-kubernetes-preserve-unknown-fields" not in node:
            raise NotStructural(f"{path}: an object with any fields")
        case "array":
            result["items"] = _converted(node["items"], root, f"{path}[]")
        case "integer":
            result["format"] = "int32" if node["maximum"] <= _INT32_MAX else "int64"
    if (default := node.get("default")) not in (None, []):
        result["default"] = {} if result.get("type") == "object" else default
    return result


def _resolved(node: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """Without reference and null; what stands beside a reference wins over what it refers to."""
    beside = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
    if options := node.get("anyOf"):
        options = [option for option in options if option != {"type": "null"}]
        if len(options) != 1:
            raise NotStructural(f"{path}: a choice of {len(options)} types")
        return {**_resolved(options[0], root, path), **beside}
    if ref := node.get("$ref"):
        return {**_resolved(root["$defs"][ref.rpartition("/")[2]], root, path), **beside}
    return node
