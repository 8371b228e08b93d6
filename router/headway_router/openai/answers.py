"""Errors as the client's library expects them: in OpenAI's form, or in Anthropic's."""

from http import HTTPStatus

import orjson

from headway_core.outcomes import ShedReason
from headway_router.openai.shapes import Shape

_ANTHROPIC_TYPES = {
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "overloaded_error",
}
_OPENAI_TYPES = {
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "service_unavailable_error",
}

SHED_STATUS = {
    ShedReason.UNKNOWN_MODEL: HTTPStatus.NOT_FOUND,
    ShedReason.NO_ENDPOINTS: HTTPStatus.SERVICE_UNAVAILABLE,
    ShedReason.EMPTY_SUBSET: HTTPStatus.SERVICE_UNAVAILABLE,
    ShedReason.DEADLINE: HTTPStatus.TOO_MANY_REQUESTS,
    ShedReason.QUEUE_FULL: HTTPStatus.TOO_MANY_REQUESTS,
    ShedReason.QUEUE_TIMEOUT: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""503: there is nowhere to go; 429: there is, but not now (endpoint-picker protocol)."""

_SHED_MESSAGES = {
    ShedReason.UNKNOWN_MODEL: "the model {model!r} does not exist",
    ShedReason.NO_ENDPOINTS: "no endpoint of the model is ready",
    ShedReason.EMPTY_SUBSET: "no endpoint of the model is in the subset that the gateway allows",
    ShedReason.DEADLINE: "no endpoint can answer within the latency objective",
    ShedReason.QUEUE_FULL: "too many requests are waiting",
    ShedReason.QUEUE_TIMEOUT: "the request waited too long for an endpoint",
}

_SHOWN_CHARACTERS = 200
"""Of a name that the client made up."""


def shed_message(reason: ShedReason, requested_model: str) -> str:
    if reason is ShedReason.UNKNOWN_MODEL and not requested_model:
        return "the request names no model, and there is not exactly one pool to take it"
    shown = requested_model[:_SHOWN_CHARACTERS]
    return _SHED_MESSAGES[reason].format(model=shown)


def error_body(
    shape: Shape, status: HTTPStatus, message: str, *, code: str, param: str | None = None
) -> bytes:
    """``code`` is from a closed set, for programs; ``message`` is for people."""
    if shape is Shape.MESSAGE:
        kind = _ANTHROPIC_TYPES.get(status, "invalid_request_error")
        return orjson.dumps({"type": "error", "error": {"type": kind, "message": message}})
    kind = _OPENAI_TYPES.get(status, "invalid_request_error")
    error = {"message": message, "type": kind, "param": param, "code": code}
    return orjson.dumps({"error": error})
