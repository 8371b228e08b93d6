"""ModelPools and Deployments as an API server stores them, for tests without one."""

from copy import deepcopy
from typing import Any

from headway_operator.model_pool.observed import Observed, read
from headway_operator.model_pool.workloads import wanted

Manifest = dict[str, Any]

NOW = 1_800_000_000.0
UID = "11111111-1111-1111-1111-111111111111"


def a_group(**fields: Any) -> Manifest:
    """A Deployment group; ``engine`` gives fields of its container, ``pod`` those of its spec."""
    engine, pod = fields.pop("engine", {}), fields.pop("pod", {})
    container = {"name": "engine", "image": "vllm:1", **engine}
    return {"name": "all", "template": {"spec": {"containers": [container], **pod}}, **fields}


def a_body(*groups: Manifest, status: Manifest | None = None, **spec: Any) -> Manifest:
    body: Manifest = {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "ModelPool",
        "metadata": {"name": "llama", "namespace": "serving", "uid": UID, "generation": 3},
        "spec": {"model": {"name": "tiny"}, "groups": list(groups) or [a_group(replicas=2)]} | spec,
    }
    return body if status is None else {**body, "status": status}


def observed(body: Manifest, *children: Manifest, **pods: list[Manifest]) -> Observed:
    return Observed(
        body=body,
        pool=read(body),
        children=children,
        pods={group: tuple(found) for group, found in pods.items()},
    )


def manifests(body: Manifest) -> list[Manifest]:
    """What the operator wants for the pool."""
    return list(wanted(read(body), UID))


def deployment(body: Manifest) -> Manifest:
    """Of the pool's first Deployment group."""
    return next(m for m in manifests(body) if m["kind"] == "Deployment")


def stored(body: Manifest, *, ready: int | None = None) -> list[Manifest]:
    """The pool's objects after they were applied, with all pods ready unless ``ready`` says."""
    children = deepcopy(manifests(body))
    for child in children:
        child["metadata"] |= {"uid": f"uid-of-{child['metadata']['name']}", "generation": 1}
        if child["kind"] == "Deployment":
            number = child["spec"].setdefault("replicas", 1)
            able = number if ready is None else ready
            child["status"] = {
                "observedGeneration": 1,
                "replicas": number,
                "updatedReplicas": number,
                "readyReplicas": able,
                "availableReplicas": able,
                "conditions": [{"type": "Available", "status": str(able >= number)}],
            }
    return children
