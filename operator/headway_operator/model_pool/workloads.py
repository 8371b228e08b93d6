"""The objects that a pool should have: a Deployment for each Deployment group, and its budget."""

import hashlib
import json
from collections.abc import Iterator

from headway_api.model_pool import Group, ModelPool
from headway_api.workload import DisruptionBudget
from headway_operator.errors import InvalidSpec
from headway_operator.model_pool.pods import labels, pod_template
from headway_operator.names import APPLIED, GROUP, MAX_LABEL, POOL, Manifest, child

MIN_READY_S = 10
"""A pod that fails sooner than that never counted."""


def wanted(pool: ModelPool, uid: str) -> Iterator[Manifest]:
    """Every object, in the order of the groups.  Raises: InvalidSpec."""
    if len(name := pool.metadata.name) > MAX_LABEL:
        raise InvalidSpec("metadata.name", f"longer than the {MAX_LABEL} characters of a label")
    for i, group in enumerate(pool.spec.groups):
        if not group.is_deployed:
            continue
        field = f"spec.groups[{i}]"
        yield _own(_deployment(pool, group, field), pool, group, uid)
        if pool.spec.availability.disruption_budget is DisruptionBudget.MANAGED:
            yield _own(_budget(name, group), pool, group, uid)


def replicas(pool: ModelPool, group: Group) -> int | None:
    """What the operator sets; None: somebody else does."""
    return pool.spec.replicas if group.replicas is None else group.replicas


def _deployment(pool: ModelPool, group: Group, field: str) -> Manifest:
    spec: Manifest = {
        "minReadySeconds": MIN_READY_S,
        "progressDeadlineSeconds": group.rollout.progress_deadline_seconds,
        "selector": {"matchLabels": _selector(pool.metadata.name, group)},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {
                "maxSurge": group.rollout.max_surge,
                "maxUnavailable": group.rollout.max_unavailable,
            },
        },
        "template": pod_template(pool, group, field),
    }
    if (number := replicas(pool, group)) is not None:
        spec["replicas"] = number
    return {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}


def _budget(pool: str, group: Group) -> Manifest:
    spec: Manifest = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": _selector(pool, group)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": spec}


def _selector(pool: str, group: Group) -> dict[str, str]:
    """Cannot be changed once a Deployment exists, so without the role."""
    return {POOL: pool, GROUP: group.name}


def _own(manifest: Manifest, pool: ModelPool, group: Group, uid: str) -> Manifest:
    text = json.dumps(manifest["spec"], sort_keys=True, separators=(",", ":"))
    manifest["metadata"] = {
        "name": child(pool.metadata.name, group.name),
        "namespace": pool.metadata.namespace,
        "labels": labels(pool, group),
        "annotations": {APPLIED: hashlib.sha256(text.encode()).hexdigest()[:16]},
        "ownerReferences": [
            {
                "apiVersion": pool.api_version,
                "kind": pool.kind,
                "name": pool.metadata.name,
                "uid": uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    return manifest
