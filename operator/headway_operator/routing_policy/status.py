"""The status of a policy, and the part of a pool's that is about policies and routers.  Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from headway_api.status import (
    AncestorRef,
    AncestorStatus,
    Condition,
    ConditionStatus,
    RoutingPolicyStatus,
    Traffic,
)
from headway_operator.discovery.outcomes import Compiled, Outcome, Target, Verdict
from headway_operator.model_pool.plan import PoolEvent
from headway_operator.model_pool.status import Claim, condition_of
from headway_operator.names import POLICY_AFFECTED, PROGRAMMED, Manifest
from headway_operator.routing_policy.programmed import claim_of, replicas_of
from headway_proto.v1alpha1 import discovery_pb2 as pb

CONTROLLER = "headway.dev/operator"
GROUP = "headway.dev"
MAX_ANCESTORS = 16

TRUE, FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE
_EVENTS = {Verdict.CONFLICTED: "PolicyConflict", Verdict.TARGET_NOT_FOUND: "TargetNotFound"}


def policy_status(policy: Outcome, reports: Mapping[str, pb.ReportRequest], now: float) -> Manifest:
    replicas = replicas_of(policy, reports)
    programmed = claim_of(policy, replicas)
    accepted = sum(target.verdict is Verdict.ACCEPTED for target in policy.targets)
    status = RoutingPolicyStatus(
        observed_generation=policy.generation,
        ancestors=tuple(_ancestor(policy, target, programmed, now) for target in policy.targets),
        effective_hash=policy.effective_hash,
        programmed_replicas=replicas.applied,
        rejected_replicas=replicas.rejected,
        router_replicas=replicas.routers,
        accepted=f"{accepted}/{len(policy.targets)}",
        programmed=f"{replicas.applied}/{replicas.routers}",
    ).model_dump(mode="json", exclude_none=True)
    others = [a for a in _ancestors(policy.body) if a.get("controllerName") != CONTROLLER]
    status["ancestors"] = [*others, *status["ancestors"]][:MAX_ANCESTORS]
    return status


def policy_events(policy: Outcome, status: Manifest) -> list[PoolEvent]:
    """What has become so with this status."""
    before, events = _verdicts(_ancestors(policy.body)), []
    for (name, type_), (is_so, reason, message) in _verdicts(status["ancestors"]).items():
        if before.get((name, type_), ("", "", ""))[:2] == (is_so, reason):
            continue
        if type_ == "Accepted" and is_so == "True":
            events.append(PoolEvent("Normal", "PolicyAccepted", f"for {name}"))
        elif type_ == "Accepted":
            reason = _EVENTS.get(Verdict(reason), "InvalidSpec")
            events.append(PoolEvent("Warning", reason, message[:1024]))
        elif type_ == PROGRAMMED and is_so == "True":
            what = f"{status['programmed']} routers run generation {policy.generation}"
            events.append(PoolEvent("Normal", "PolicyProgrammed", what))
    return list(dict.fromkeys(events))


def pool_status(
    pool: Outcome,
    compiled: Compiled,
    reports: Mapping[str, pb.ReportRequest],
    traffic: Traffic | None,
    now: float,
) -> Manifest:
    """Only what this part of the operator owns."""
    claims = [_affected(pool, compiled), claim_of(pool, replicas_of(pool, reports))]
    conditions = [condition_of(pool.body, claim, pool.generation, now) for claim in claims]
    status: Manifest = {"conditions": [_dumped(c) for c in conditions]}
    if traffic is not None:
        status["traffic"] = traffic.model_dump(mode="json", exclude_none=True)
    return status


def own_part(body: Manifest) -> Manifest:
    """Of a pool's live status, the part that ``pool_status`` makes."""
    status = body.get("status", {})
    conditions = status.get("conditions", ())
    own = [c for c in conditions if c["type"] in (POLICY_AFFECTED, PROGRAMMED)]
    part: Manifest = {"conditions": sorted(own, key=lambda c: str(c["type"]))}
    return part | ({"traffic": status["traffic"]} if "traffic" in status else {})


def _affected(pool: Outcome, compiled: Compiled) -> Claim:
    policies = compiled.policy_of(pool.key)
    if not policies:
        return Claim(POLICY_AFFECTED, FALSE, "NoPolicy", "the defaults apply")
    names = [policy.body["metadata"]["name"] for policy in policies]
    if len(names) > 1:
        others = ", ".join(names[1:])
        return Claim(POLICY_AFFECTED, TRUE, "Conflicted", f"by {names[0]}; not by {others}")
    return Claim(POLICY_AFFECTED, TRUE, "Affected", f"by {names[0]}")


def _ancestor(policy: Outcome, target: Target, programmed: Claim, now: float) -> AncestorStatus:
    is_accepted = target.verdict is Verdict.ACCEPTED
    is_there = target.verdict is not Verdict.TARGET_NOT_FOUND
    claims = [
        Claim("Accepted", TRUE if is_accepted else FALSE, target.verdict, target.message),
        Claim(
            "ResolvedRefs",
            TRUE if is_there else FALSE,
            "ResolvedRefs" if is_there else target.verdict,
            "" if is_there else target.message,
        ),
        programmed
        if is_accepted or target.verdict is Verdict.INVALID
        else Claim(PROGRAMMED, FALSE, target.verdict, target.message),
    ]
    last = next(
        (
            {"status": ancestor, "metadata": policy.body["metadata"]}
            for ancestor in _ancestors(policy.body)
            if ancestor["ancestorRef"]["name"] == target.name
            and ancestor["controllerName"] == CONTROLLER
        ),
        {"metadata": policy.body["metadata"]},
    )
    return AncestorStatus(
        ancestor_ref=AncestorRef(group=GROUP, kind="ModelPool", name=target.name),
        controller_name=CONTROLLER,
        conditions=tuple(condition_of(last, claim, policy.generation, now) for claim in claims),
    )


def _ancestors(body: Manifest) -> list[Any]:
    return list(body.get("status", {}).get("ancestors", ()))


def _verdicts(ancestors: Sequence[Any]) -> dict[tuple[str, str], tuple[str, str, str]]:
    return {
        (a["ancestorRef"]["name"], c["type"]): (c["status"], c["reason"], c.get("message", ""))
        for a in ancestors
        if a["controllerName"] == CONTROLLER
        for c in a["conditions"]
    }


def _dumped(of: Condition) -> Manifest:
    return of.model_dump(mode="json", exclude_none=True)
