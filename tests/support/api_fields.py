"""The fields of the API, and which of them the operator obeys rather than the router."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

OPERATED = {
    f"ModelPool.spec.{field}"
    for field in (
        "availability.disruptionBudget",
        "availability.topologySpread",
        "drain.preStopSeconds",
        "drain.timeoutSeconds",
        "groups[].accelerator.countPerReplica",
        "groups[].accelerator.resourceName",
        "groups[].parallelism.data",
        "groups[].parallelism.pipeline",
        "groups[].parallelism.tensor",
        "groups[].replicas",
        "groups[].rollout.maxSurge",
        "groups[].rollout.maxUnavailable",
        "groups[].rollout.progressDeadlineSeconds",
        "groups[].selector",
        "groups[].template.metadata.annotations",
        "groups[].template.metadata.labels",
        "groups[].template.spec",
        "groups[].workload",
        "paused",
        "replicas",
    )
}


def leaves(model: type[BaseModel], path: str) -> Iterator[str]:
    """Every field that holds no further fields, as ``spec.groups[].name``."""
    schema = model.model_json_schema(by_alias=True)
    yield from _leaves(schema, schema, path)


def _leaves(node: dict[str, Any], root: dict[str, Any], path: str) -> Iterator[str]:
    for option in node.get("anyOf", ()):
        if option != {"type": "null"}:
            node = option
    if "$ref" in node:
        node = root["$defs"][node["$ref"].rpartition("/")[2]]
    if "items" in node:
        yield from _leaves(node["items"], root, f"{path}[]")
    elif "properties" in node:
        for name, child in node["properties"].items():
            yield from _leaves(child, root, f"{path}.{name}")
    else:
        yield path
