"""The types stay such that a CustomResourceDefinition can be generated from them."""

from collections.abc import Iterator
from typing import Any

import pytest

from headway_api.planned import PLANNED_FIELDS, PLANNED_VALUES
from headway_api.v1alpha1 import API_VERSION, KINDS

Schema = dict[str, Any]


def nodes(kind: str) -> Iterator[tuple[str, Schema, Schema]]:
    """Every schema below ``kind``: its path, itself, and the field that holds it."""
    root = KINDS[kind].model_json_schema(by_alias=True)

    def walk(path: str, node: Schema, holder: Schema) -> Iterator[tuple[str, Schema, Schema]]:
        options = [option for option in node.get("anyOf", ()) if option != {"type": "null"}]
        assert len(options) <= 1, f"{path} is a union"
        node = options[0] if options else node
        if "$ref" in node:
            node = root["$defs"][node["$ref"].rpartition("/")[2]]
        yield path, node, holder
        for name, child in node.get("properties", {}).items():
            yield from walk(f"{path}.{name}" if path else name, child, child)
        if "items" in node:
            yield from walk(f"{path}[]", node["items"], holder)
        if isinstance(values := node.get("additionalProperties"), dict):
            yield from walk(f"{path}{{}}", values, holder)

    yield from walk("", root, root)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_says_what_it_is(kind: str) -> None:
    silent = [
        path
        for path, node, holder in nodes(kind)
        if not (holder.get("description") or node.get("description"))
    ]
    assert silent == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_is_bounded_and_no_bound_is_exclusive(kind: str) -> None:
    for path, node, _ in nodes(kind):
        assert not node.keys() & {"exclusiveMinimum", "exclusiveMaximum"}, path
        match node.get("type"):
            case "string":
                assert node.keys() & {"maxLength", "enum", "const"}, path
            case "array":
                assert "maxItems" in node, path
            case "integer":
                assert {"minimum", "maximum"} <= node.keys(), path
            case "object" if "properties" not in node:
                is_preserved = "x-kubernetes-preserve-unknown-fields" in node
                assert is_preserved or "maxProperties" in node, path
            case "object":
                assert node["additionalProperties"] is False, path
            case kind_of_value:
                assert kind_of_value == "boolean", path


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_a_default_need_not_be_written(kind: str) -> None:
    required = {
        f"{path}.{name}" for path, node, _ in nodes(kind) for name in node.get("required", ())
    }
    defaulted = {path for path, _, holder in nodes(kind) if "default" in holder}
    assert not {f".{path}" for path in defaulted} & required


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_planned_is_not_there_yet_and_has_a_place(kind: str) -> None:
    there = {path for path, _, _ in nodes(kind)}
    for holder, names in PLANNED_FIELDS[kind].items():
        assert holder in there
        assert not {f"{holder}.{name}" for name in names.split()} & there


def test_planned_values_are_refused_by_their_field() -> None:
    fields = {path: node for kind in KINDS for path, node, _ in nodes(kind)}
    for path, values in PLANNED_VALUES.items():
        options = fields[path].get("enum") or [fields[path]["const"]]
        assert not values.keys() & set(options)


def test_the_version_is_that_of_the_types() -> None:
    for kind in KINDS:
        versions = [node["const"] for path, node, _ in nodes(kind) if path == "apiVersion"]
        assert versions == [API_VERSION]
