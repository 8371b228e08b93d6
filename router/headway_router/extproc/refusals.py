"""Answers that the client gets from the router itself."""

from http import HTTPStatus
from math import ceil

from headway_core.outcomes import Shed, ShedReason
from headway_router.errors import RejectReason, RequestRejected
from headway_router.extproc.headers import DROPPED_REASON, DROPPED_REASON_LLMD
from headway_router.extproc.messages import Immediate
from headway_router.openai.answers import SHED_STATUS, error_body, shed_message
from headway_router.openai.shapes import Shape

_JSON = ("content-type", "application/json")

_LLMD_REASONS = {
    ShedReason.UNKNOWN_MODEL: "rejected-no-endpoints",
    ShedReason.NO_ENDPOINTS: "rejected-no-endpoints",
    ShedReason.EMPTY_SUBSET: "rejected-no-endpoints",
    ShedReason.DEADLINE: "rejected-saturated",
    ShedReason.QUEUE_FULL: "rejected-saturated",
    ShedReason.QUEUE_TIMEOUT: "rejected-ttl-expired",
}
"""The closest of llm-d's values, which its clients and dashboards read."""


def models(body: bytes) -> Immediate:
    return Immediate(status=HTTPStatus.OK, body=body, headers=(_JSON,), details="headway_models")


def rejected(error: RequestRejected, shape: Shape) -> Immediate:
    status = error.reason.status
    return Immediate(
        status=status,
        body=error_body(shape, status, error.message, code=error.reason, param=error.param),
        headers=(_JSON,),
        details=f"headway_rejected_{error.reason}",
        rejected=error.reason,
    )


def shed(outcome: Shed, shape: Shape, requested_model: str) -> Immediate:
    reason = outcome.reason
    status = SHED_STATUS[reason]
    headers = [_JSON, (DROPPED_REASON, str(reason)), (DROPPED_REASON_LLMD, _LLMD_REASONS[reason])]
    if outcome.retry_after_s is not None:
        headers.append(("retry-after", str(max(1, ceil(outcome.retry_after_s)))))
    param = "model" if reason is ShedReason.UNKNOWN_MODEL else None
    message = shed_message(reason, requested_model)
    return Immediate(
        status=status,
        body=error_body(shape, status, message, code=reason, param=param),
        headers=tuple(headers),
        details=f"headway_shed_{reason}",
    )


def empty_body() -> RequestRejected:
    return RequestRejected(RejectReason.EMPTY_BODY, "the body is empty, not a JSON object")


def above_the_gateways_buffer() -> RequestRejected:
    return RequestRejected(
        RejectReason.BODY_TOO_LARGE, "the body is larger than the gateway's buffer"
    )
