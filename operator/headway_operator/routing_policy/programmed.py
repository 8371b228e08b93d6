"""Who runs a resource, by what live routers report.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from headway_api.status import ConditionStatus
from headway_operator.discovery.outcomes import Outcome
from headway_operator.model_pool.status import Claim
from headway_operator.names import PROGRAMMED
from headway_proto.v1alpha1 import discovery_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """Routers; those that run what the snapshot says; those that cannot, and the first's why."""

    routers: int
    applied: int
    rejected: int
    message: str


def replicas_of(outcome: Outcome, reports: Mapping[str, pb.ReportRequest]) -> Replicas:
    applied, rejections = 0, []
    for router_id, report in sorted(reports.items()):
        if report.ack.verdict == pb.Ack.NACK:
            rejections.append(f"{router_id}: {report.ack.reason}: {report.ack.message}")
            continue
        item = outcome.item
        for result in report.results:
            if item is None or (result.uid, result.generation) != (item.uid, item.generation):
                continue
            if result.state == pb.Result.REJECTED:
                rejections.append(f"{router_id}: {result.message}")
            elif result.hash == item.hash:
                applied += 1
    return Replicas(
        routers=len(reports),
        applied=applied,
        rejected=len(rejections),
        message=rejections[0] if rejections else "",
    )


def claim_of(outcome: Outcome, replicas: Replicas) -> Claim:
    """``Programmed`` of the latest generation."""
    false, item = ConditionStatus.FALSE, outcome.item
    if item is None or item.content is None or item.generation != outcome.generation:
        kept = (
            f"; generation {item.generation} stays in force"
            if item is not None and item.content is not None
            else ""
        )
        return Claim(PROGRAMMED, false, "Invalid", f"{outcome.problem or 'not in force'}{kept}")
    if outcome.problem:
        return Claim(PROGRAMMED, false, "Invalid", outcome.problem)
    if not replicas.routers:
        return Claim(PROGRAMMED, ConditionStatus.UNKNOWN, "NoRouters", "no router has reported")
    if replicas.rejected:
        return Claim(PROGRAMMED, false, "Rejected", replicas.message)
    if replicas.applied < replicas.routers:
        what = f"{replicas.applied} of {replicas.routers} routers run generation {item.generation}"
        return Claim(PROGRAMMED, false, "Pending", what)
    return Claim(PROGRAMMED, ConditionStatus.TRUE, "Programmed")
