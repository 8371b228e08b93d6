"""Every field of the API that is the operator's changes what it plans."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from api_fields import OPERATED
from headway_operator.model_pool.plan import plan
from pool_objects import NOW, a_body, a_group, manifests, observed

Manifest = dict[str, Any]
Sees = Callable[[Manifest], object]


def deployment(*path: str | int) -> Sees:
    """What the first Deployment has there; None: nothing."""

    def look(body: Manifest) -> object:
        value: Any = next(m for m in manifests(body) if m["kind"] == "Deployment")
        for step in path:
            value = value.get(step) if isinstance(value, dict) else value[step]
        return value

    return look


def kinds(body: Manifest) -> object:
    return [manifest["kind"] for manifest in manifests(body)]


def progressing(body: Manifest) -> object:
    return next(
        c.reason for c in plan(observed(body), NOW).status.conditions if c.type == "Progressing"
    )


POD = ("spec", "template", "spec")
ENGINE = (*POD, "containers", 0)
ARGS = deployment(*ENGINE, "args")
SAID = ["--served-model-name", "tiny"]
DRAINED = ["--shutdown-timeout", "120"]
STRATEGY = ("spec", "strategy", "rollingUpdate")
ACCELERATOR = {"type": "h100", "countPerReplica": 8}
EXTERNAL = {"name": "all", "workload": "External", "selector": {"app": "x"}}

EFFECTS: dict[str, tuple[Manifest, Sees, object, object]] = {
    "spec.availability.disruptionBudget": (
        {"availability": {"disruptionBudget": "None"}},
        kinds,
        ["Deployment", "PodDisruptionBudget"],
        ["Deployment"],
    ),
    "spec.availability.topologySpread": (
        {"availability": {"topologySpread": "Host"}},
        deployment(*POD, "topologySpreadConstraints", 0, "topologyKey"),
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ),
    "spec.drain.preStopSeconds": (
        {"drain": {"preStopSeconds": 5}},
        deployment(*ENGINE, "lifecycle", "preStop", "sleep", "seconds"),
        15,
        5,
    ),
    "spec.drain.timeoutSeconds": (
        {"drain": {"timeoutSeconds": 60}},
        ARGS,
        [*SAID, *DRAINED],
        [*SAID, "--shutdown-timeout", "60"],
    ),
    "spec.groups[].accelerator.countPerReplica": (
        {"groups": [a_group(accelerator={"type": "h100", "countPerReplica": 2})]},
        deployment(*ENGINE, "resources"),
        None,
        {"limits": {"nvidia.com/gpu": "2"}},
    ),
    "spec.groups[].accelerator.resourceName": (
        {"groups": [a_group(accelerator={"type": "mi300", "resourceName": "amd.com/gpu"})]},
        deployment(*ENGINE, "resources"),
        None,
        {"limits": {"amd.com/gpu": "1"}},
    ),
    **{
        f"spec.groups[].parallelism.{name}": (
            {"groups": [a_group(accelerator=ACCELERATOR, parallelism={name: 4})]},
            ARGS,
            [*SAID, *DRAINED],
            [*SAID, f"--{name}-parallel-size", "4", *DRAINED],
        )
        for name in ("tensor", "pipeline", "data")
    },
    "spec.groups[].replicas": (
        {"groups": [a_group(replicas=7)]},
        deployment("spec", "replicas"),
        2,
        7,
    ),
    "spec.groups[].rollout.maxSurge": (
        {"groups": [a_group(rollout={"maxSurge": 3})]},
        deployment(*STRATEGY, "maxSurge"),
        1,
        3,
    ),
    "spec.groups[].rollout.maxUnavailable": (
        {"groups": [a_group(rollout={"maxUnavailable": 2})]},
        deployment(*STRATEGY, "maxUnavailable"),
        0,
        2,
    ),
    "spec.groups[].rollout.progressDeadlineSeconds": (
        {"groups": [a_group(rollout={"progressDeadlineSeconds": 90})]},
        deployment("spec", "progressDeadlineSeconds"),
        1800,
        90,
    ),
    "spec.groups[].template.metadata.annotations": (
        {
            "groups": [
                a_group()
                | {"template": a_group()["template"] | {"metadata": {"annotations": {"a": "b"}}}}
            ]
        },
        deployment("spec", "template", "metadata", "annotations"),
        None,
        {"a": "b"},
    ),
    "spec.groups[].template.metadata.labels": (
        {
            "groups": [
                a_group()
                | {"template": a_group()["template"] | {"metadata": {"labels": {"a": "b"}}}}
            ]
        },
        lambda body: deployment("spec", "template", "metadata", "labels", "a")(body),
        None,
        "b",
    ),
    "spec.groups[].template.spec": (
        {"groups": [a_group(pod={"priorityClassName": "high"})]},
        deployment(*POD, "priorityClassName"),
        None,
        "high",
    ),
    "spec.groups[].workload": (
        {"groups": [EXTERNAL]},
        kinds,
        ["Deployment", "PodDisruptionBudget"],
        [],
    ),
    "spec.paused": ({"paused": True}, progressing, "RollingOut", "Paused"),
    "spec.replicas": ({"replicas": 7, "groups": [a_group()]}, deployment("spec", "replicas"), 2, 7),
}
"""Field -> what is changed in a pool that has the defaults, who sees it, before and after."""

ON_A_CLUSTER = {"spec.groups[].selector"}
"""In ``test_on_a_real_cluster``: it is a question to the API server."""


def test_no_field_of_the_operator_is_left_out() -> None:
    assert {f"ModelPool.{field}" for field in EFFECTS.keys() | ON_A_CLUSTER} == OPERATED


@pytest.mark.parametrize("field", EFFECTS)
def test_the_field_decides(field: str) -> None:
    change, sees, before, after = EFFECTS[field]
    assert sees(a_body()) == before
    assert sees(a_body(**deepcopy({"groups": [a_group(replicas=2)], **change}))) == after
