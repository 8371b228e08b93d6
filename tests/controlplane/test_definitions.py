"""The definitions on a real API server: what is served, explained, filled in, admitted."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from control_plane.api import Refused, until
from control_plane.plane import ControlPlane
from headway_api import Problem
from headway_api.definitions import DEFINITIONS, Definition, manifest
from headway_api.documents import parse
from headway_api.rules import check
from headway_api.v1alpha1 import KINDS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
"""The first test that needs the control plane may build it: beyond the usual limit."""

CASES = Path(__file__).parent.parent / "fixtures" / "admission"
CONFIG = Path(__file__).parent.parent / "fixtures" / "config"

by_kind = pytest.mark.parametrize(
    "definition", [pytest.param(d, id=d.kind.__name__) for d in DEFINITIONS]
)


@by_kind
def test_a_dry_run_of_the_definition_is_accepted(
    control_plane: ControlPlane, definition: Definition
) -> None:
    wanted = manifest(definition)
    path = f"apis/apiextensions.k8s.io/v1/customresourcedefinitions/{wanted['metadata']['name']}"
    answer = control_plane.admin.apply(path, wanted, query="dryRun=All")
    conditions = {c["type"]: c["status"] for c in answer["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


@by_kind
def test_every_field_is_explained_by_the_server(
    control_plane: ControlPlane, definition: Definition
) -> None:
    """``kubectl explain`` reads this document, which follows a definition a little later."""
    path = "openapi/v3/apis/headway.dev/v1alpha1"
    served = until(lambda: control_plane.admin.found(path), f"{path} is served")
    kind = f"dev.headway.v1alpha1.{definition.kind.__name__}"
    schema = served["components"]["schemas"][kind]["properties"]
    described = {path: node.get("description") for path, node in fields(schema)}
    assert len(described) > 20
    assert [path for path, description in described.items() if not description] == []


def fields(properties: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, node in properties.items():
        if name not in ("apiVersion", "kind", "metadata"):
            yield f"{path}.{name}", node
            inner = node.get("items", node)
            yield from fields(inner.get("properties", {}), f"{path}.{name}")


def good_objects() -> Iterator[Any]:
    for path in sorted([*CASES.glob("good/*.yaml"), *CONFIG.glob("*/*.yaml")]):
        for document in yaml.safe_load_all(path.read_text()):
            yield pytest.param(document, id=f"{path.stem}-{document['metadata']['name']}")


@pytest.mark.parametrize("good", list(good_objects()))
def test_a_good_object_is_stored_with_the_defaults_of_the_types(
    control_plane: ControlPlane, good: dict[str, Any]
) -> None:
    """Round trip: what comes back has the meaning that Python reads in the text, and the API
    server has filled in exactly what Python fills in."""
    good = {**good, "metadata": {**good["metadata"], "namespace": "default"}}
    stored = control_plane.admin.create(good, query="fieldValidation=Strict&dryRun=All")
    spec = KINDS[good["kind"]].model_validate(good).spec
    assert without_empty(stored["spec"]) == without_empty(spec.model_dump(mode="json"))
    assert type(spec).model_validate(stored["spec"]) == spec


def without_empty(value: Any) -> Any:
    """An absent list or mapping and an empty one mean the same, and so do null and nothing."""
    match value:
        case dict():
            items = {k: without_empty(v) for k, v in value.items()}
            return {k: v for k, v in items.items() if v not in (None, [], {})}
        case list() | tuple():
            return [without_empty(item) for item in value]
    return value


def bad_cases() -> Iterator[Any]:
    for case in yaml.safe_load((CASES / "bad.yaml").read_text()):
        yield pytest.param(case, id=case["case"])


@pytest.mark.parametrize("case", list(bad_cases()))
def test_a_bad_object_is_refused_with_its_own_message(
    control_plane: ControlPlane, case: dict[str, Any]
) -> None:
    text = (CASES / "good" / case["of"]).read_text()
    assert text.count(case["replace"]) == 1
    good, bad = (yaml.safe_load(t) for t in (text, text.replace(case["replace"], case["by"])))
    admin, name = control_plane.admin, good["metadata"]["name"]
    if case.get("update"):
        namespace = admin.create_namespace(f"update-{name}")
        admin.create({**good, "metadata": {"name": name, "namespace": namespace}})
        send = partial(admin.merge, good["kind"], namespace, name, {"spec": bad["spec"]})
    else:
        send = partial(admin.create, bad, query="fieldValidation=Strict&dryRun=All")
    with pytest.raises(Refused) as caught:
        send()
    assert case["message"] in caught.value.message
    assert caught.value.code == 422


@pytest.mark.parametrize("case", list(bad_cases()))
def test_python_refuses_what_the_server_refuses(case: dict[str, Any]) -> None:
    """But for what changes in time: a file has no past."""
    good = (CASES / "good" / case["of"]).read_text()
    bad = good.replace(case["replace"], case["by"])
    assert problems(good) == []
    assert bool(problems(bad)) is not case.get("update", False)


def problems(text: str) -> list[Problem]:
    """Within the resource: whether the pools that a policy targets exist is another matter."""
    parsed = parse("f.yaml", text)
    return [*parsed.problems, *check(parsed.documents, complete=False)]
