"""What a pool's status says: replicas by group, and conditions that sum them up."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from headway_api.model_pool import Group
from headway_api.status import Condition, ConditionStatus, GroupStatus, ModelPoolStatus
from headway_api.workload import Workload
from headway_operator.model_pool.observed import Observed, timestamp
from headway_operator.model_pool.workloads import replicas
from headway_operator.names import Manifest, selector

TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


class Claim(NamedTuple):
    """A condition without its time."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""


def status_of(observed: Observed, now: float) -> ModelPoolStatus:
    groups = [_group(observed, group) for group in observed.pool.spec.groups]
    claims = [_ready(observed, groups), _progressing(observed), _stalled(observed)]
    return _status(observed.body, groups, claims, now)


def stalled_status(body: Manifest, problem: str, now: float) -> ModelPoolStatus:
    """A user must act: what the pool had stays as it is, and so do its counts."""
    last = body.get("status", {})
    groups = [GroupStatus.model_validate(group) for group in last.get("groups", ())]
    stalled = Claim("Stalled", TRUE, "InvalidSpec", problem)
    serves = any(group.ready for group in groups)
    ready = Claim("Ready", FALSE, "InvalidSpec", "serves as before" if serves else "")
    return _status(body, groups, [ready, Claim("Progressing", FALSE, "InvalidSpec"), stalled], now)


def _status(
    body: Manifest, groups: Sequence[GroupStatus], claims: Sequence[Claim], now: float
) -> ModelPoolStatus:
    generation = body["metadata"]["generation"]
    known = [group.ready for group in groups if group.ready is not None]
    desired = sum(group.replicas if group.desired is None else group.desired for group in groups)
    return ModelPoolStatus(
        observed_generation=generation,
        replicas=sum(group.replicas for group in groups),
        ready_replicas=sum(known),
        ready=f"{sum(known) if known else '?'}/{desired}",
        selector=selector(body["metadata"]["name"]),
        groups=tuple(groups),
        conditions=tuple(condition_of(body, claim, generation, now) for claim in claims),
    )


def condition_of(body: Manifest, claim: Claim, generation: int, now: float) -> Condition:
    """As a claim about the body now; its time moves only with its status."""
    last = condition(body, claim.type)
    is_same = last is not None and last["status"] == claim.status
    return Condition(
        type=claim.type,
        status=claim.status,
        reason=claim.reason,
        message=claim.message[:4096],
        observed_generation=generation,
        last_transition_time=(
            last["lastTransitionTime"] if last is not None and is_same else timestamp(now)
        ),
    )


def condition(body: Manifest, type_: str) -> dict[str, Any] | None:
    for found in body.get("status", {}).get("conditions", ()):
        if found["type"] == type_:
            return dict(found)
    return None


def _group(observed: Observed, group: Group) -> GroupStatus:
    match group.workload:
        case Workload.DEPLOYMENT:
            return _deployed(observed, group)
        case Workload.EXTERNAL:
            pods = [
                p for p in observed.pods[group.name] if "deletionTimestamp" not in p["metadata"]
            ]
            ready = sum(_has(pod, "Ready") for pod in pods)
            return GroupStatus(name=group.name, role=group.role, replicas=len(pods), ready=ready)
        case Workload.STATIC:
            return GroupStatus(name=group.name, role=group.role, replicas=len(group.endpoints))


def _deployed(observed: Observed, group: Group) -> GroupStatus:
    deployment = observed.deployment(group.name)
    set_here = replicas(observed.pool, group)
    if deployment is None:
        return GroupStatus(
            name=group.name, role=group.role, desired=set_here, replicas=0, ready=0, updated=0
        )
    counts = deployment.get("status", {})
    return GroupStatus(
        name=group.name,
        role=group.role,
        desired=deployment["spec"].get("replicas") if set_here is None else set_here,
        replicas=counts.get("replicas", 0),
        ready=counts.get("readyReplicas", 0),
        updated=counts.get("updatedReplicas", 0),
        workload=deployment["metadata"]["name"],
    )


def _deployments(observed: Observed) -> Iterator[tuple[Group, Manifest | None]]:
    for group in observed.pool.spec.groups:
        if group.is_deployed:
            yield group, observed.deployment(group.name)


def _ready(observed: Observed, groups: Sequence[GroupStatus]) -> Claim:
    """Something can serve, and every Deployment has what its rollout must not go below."""
    if not any(group.replicas for group in groups):
        is_empty = not any(group.desired for group in groups)
        return Claim(
            "Ready", FALSE, "NoEndpoints" if is_empty else "PodsNotReady", "no pod is there"
        )
    lacking = [
        group.name
        for group, deployment in _deployments(observed)
        if deployment is None or not _has(deployment, "Available")
    ]
    if lacking:
        reason = "Updating" if _rolling(observed) else "PodsNotReady"
        return Claim("Ready", FALSE, reason, f"too few pods are ready in {', '.join(lacking)}")
    if any(group.ready for group in groups):
        return Claim("Ready", TRUE, "AsExpected")
    if any(group.ready is None for group in groups):
        return Claim("Ready", UNKNOWN, "NotProbed", "addresses are not probed from here")
    return Claim("Ready", FALSE, "PodsNotReady", "no pod is ready")


def _progressing(observed: Observed) -> Claim:
    if observed.pool.spec.paused:
        return Claim("Progressing", FALSE, "Paused", "spec.paused: nothing is changed")
    if rolling := _rolling(observed):
        return Claim("Progressing", TRUE, "RollingOut", f"pods change in {', '.join(rolling)}")
    return Claim("Progressing", FALSE, "Stable")


def _rolling(observed: Observed) -> list[str]:
    """Groups whose Deployment is not yet what its spec says."""
    rolling = []
    for group, deployment in _deployments(observed):
        status = {} if deployment is None else deployment.get("status", {})
        number = 1 if deployment is None else deployment["spec"].get("replicas", 1)
        counts = [status.get(c, 0) for c in ("replicas", "updatedReplicas", "availableReplicas")]
        generation = None if deployment is None else deployment["metadata"].get("generation")
        if status.get("observedGeneration") != generation or counts != [number] * 3:
            rolling.append(group.name)
    return rolling


def _stalled(observed: Observed) -> Claim:
    for group, deployment in _deployments(observed):
        for found in () if deployment is None else _conditions(deployment):
            if found.get("reason") == "ProgressDeadlineExceeded":
                message = f"{group.name}: {found.get('message', '')}"
                return Claim("Stalled", TRUE, "ProgressDeadlineExceeded", message)
    return Claim("Stalled", FALSE, "AsExpected")


def _conditions(manifest: Manifest) -> list[dict[str, Any]]:
    return list(manifest.get("status", {}).get("conditions") or ())


def _has(manifest: Manifest, type_: str) -> bool:
    return any(c["type"] == type_ and c["status"] == "True" for c in _conditions(manifest))
