"""The definitions that are generated from the types, and the files that hold them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field

from headway_api import definitions
from headway_api.definitions import DEFINITIONS, Definition, manifest
from headway_api.meta import ApiModel
from headway_api.structural import NotStructural, structural

CRDS = Path(__file__).parent.parent.parent / "crds"
APPLY_LIMIT_BYTES = 262_144
"""All annotations of an object together; ``kubectl apply`` keeps the whole object in one."""

Schema = dict[str, Any]
by_kind = pytest.mark.parametrize(
    "definition", [pytest.param(d, id=d.kind.__name__) for d in DEFINITIONS]
)


def nodes(definition: Definition) -> Iterator[tuple[str, Schema]]:
    def walk(path: str, node: Schema) -> Iterator[tuple[str, Schema]]:
        yield path, node
        for name, child in node.get("properties", {}).items():
            yield from walk(f"{path}.{name}", child)
        if "items" in node:
            yield from walk(f"{path}[]", node["items"])
        if "additionalProperties" in node:
            yield from walk(f"{path}{{}}", node["additionalProperties"])

    [version] = manifest(definition)["spec"]["versions"]
    top = version["schema"]["openAPIV3Schema"]["properties"]
    for name in top.keys() & {"spec", "status"}:
        yield from walk(name, top[name])


def test_the_committed_files_are_what_the_types_say() -> None:
    for name, text in definitions.files():
        assert (CRDS / name).read_text() == text, f"headway crds generate {CRDS}"


@by_kind
def test_a_file_reads_back_as_the_definition(definition: Definition) -> None:
    text = dict(definitions.files())[f"{definition.plural}.yaml"]
    assert yaml.safe_load(text) == manifest(definition)


@by_kind
def test_kubectl_can_apply_it(definition: Definition) -> None:
    assert len(json.dumps(manifest(definition))) < APPLY_LIMIT_BYTES


@by_kind
def test_every_field_explains_itself(definition: Definition) -> None:
    is_value = ("[]", "{}")
    silent = [
        path
        for path, node in nodes(definition)
        if not path.endswith(is_value) and not node.get("description")
    ]
    assert silent == []


@by_kind
def test_everything_is_bounded_so_that_rules_have_a_price(definition: Definition) -> None:
    bounds = {"string": "maxLength", "array": "maxItems", "integer": "maximum"}
    for path, node in nodes(definition):
        if node["type"] == "object":
            assert node.keys() & {
                "properties",
                "maxProperties",
                "x-kubernetes-preserve-unknown-fields",
            }, path
        elif node["type"] != "boolean":
            assert node.keys() & {bounds[node["type"]], "enum"}, path


@by_kind
def test_a_list_says_how_appliers_share_it(definition: Definition) -> None:
    for path, node in nodes(definition):
        if node["type"] == "array":
            kind = node["x-kubernetes-list-type"]
            is_of_objects = node["items"]["type"] == "object"
            assert kind in (("map", "atomic") if is_of_objects else ("set", "atomic")), path
            for key in node.get("x-kubernetes-list-map-keys", ()):
                assert key in node["items"]["required"], path


@by_kind
def test_a_rule_points_at_a_field_that_is_there(definition: Definition) -> None:
    rules = [
        (rule["fieldPath"].removeprefix("."), node["properties"])
        for _, node in nodes(definition)
        for rule in node.get("x-kubernetes-validations", ())
    ]
    assert rules
    assert [field for field, fields in rules if field not in fields] == []


def test_a_parent_without_fields_gets_those_of_its_children() -> None:
    class Inner(ApiModel):
        number: Annotated[int, Field(ge=0, le=9)] = 3
        """A number."""

    class Outer(ApiModel):
        inner: Inner = Inner()
        """Holds a number."""

    schema = structural(Outer)
    assert schema["properties"]["inner"]["default"] == {}
    assert schema["properties"]["inner"]["properties"]["number"]["default"] == 3


class Choice(ApiModel):
    value: Annotated[int, Field(ge=0, le=9)] | Annotated[str, Field(max_length=9)]
    """One of two types."""


class Exclusive(ApiModel):
    value: Annotated[int, Field(gt=0, le=9)]
    """Bounded in a way that OpenAPI 3.0 writes otherwise."""


class Free(ApiModel):
    value: dict[str, Any]
    """Anything."""


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (Choice, "Choice.value: a choice of 2 types"),
        (Exclusive, "Exclusive.value: exclusiveMinimum"),
        (Free, "Free.value: an object with any fields"),
    ],
    ids=["a choice of types", "an exclusive bound", "a free object"],
)
def test_what_a_structural_schema_cannot_say_is_refused(
    model: type[ApiModel], problem: str
) -> None:
    with pytest.raises(NotStructural) as caught:
        structural(model)
    assert str(caught.value) == problem
