"""Translates ext_proc's protobufs, as bytes, from and to ``messages``.  Nothing else knows them."""

from functools import cache
from typing import Any, assert_never

from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from envoy.type.v3.http_status_pb2 import HttpStatus
from google.protobuf.message import DecodeError

from headway_router.errors import ProtocolViolation
from headway_router.extproc import wire
from headway_router.extproc.headers import READ, SUBSET, SUBSET_NAMESPACE
from headway_router.extproc.messages import (
    BodyMode,
    ChangeMode,
    Continue,
    Immediate,
    Message,
    Part,
    ProtocolConfig,
    Received,
    ReplaceBody,
    Reply,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    Route,
    StreamedChunk,
    Subset,
    Upstream,
)

_ATTRIBUTES = "envoy.filters.http.ext_proc"
_OVERWRITE = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


def decode(data: bytes) -> Received:
    """Raises: ProtocolViolation."""
    if (found := wire.request_body(data)) is not None:
        return Received(RequestBody(*found))
    try:
        request = pb.ProcessingRequest.FromString(data)
    except DecodeError as error:
        raise ProtocolViolation("not a ProcessingRequest") from error
    config = None
    if request.HasField("protocol_config"):
        sent = request.protocol_config
        config = _config(
            sent.request_body_mode,
            sent.response_body_mode,
            sent.send_body_without_waiting_for_header_response,
        )
    return Received(_message(request), config, request.observability_mode)


def _message(request: Any) -> Message:
    match request.WhichOneof("request"):
        case "request_headers":
            sent = request.request_headers
            return RequestHeaders(_headers(sent.headers), sent.end_of_stream, _subset(request))
        case "request_body":
            sent = request.request_body
            return RequestBody(sent.body, sent.end_of_stream, _subset(request))
        case "request_trailers":
            return RequestTrailers()
        case "response_headers":
            sent = request.response_headers
            return ResponseHeaders(_status(sent.headers), sent.end_of_stream)
        case "response_body":
            sent = request.response_body
            return ResponseBody(sent.body, sent.end_of_stream, _upstream(request))
        case "response_trailers":
            return ResponseTrailers()
        case nothing:
            raise ProtocolViolation(f"a ProcessingRequest with {nothing or 'nothing'} in it")


@cache
def _config(request_mode: int, response_mode: int, sends_body_early: bool) -> ProtocolConfig:
    """Raises: ProtocolViolation: for a mode from a later version of the protocol."""
    try:
        return ProtocolConfig(
            request_body_mode=BodyMode(request_mode),
            response_body_mode=BodyMode(response_mode),
            sends_body_early=sends_body_early,
        )
    except ValueError as error:
        raise ProtocolViolation(str(error)) from error


def _headers(headers: Any) -> dict[str, str]:
    """Those that the router reads: decoding all of them costs more than placing the request."""
    found: dict[str, str] = {}
    for header in headers.headers:
        name = header.key
        if name in READ or (not name.islower() and (name := name.lower()) in READ):
            value = _value(header)
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _value(header: Any) -> str:
    raw: bytes = header.raw_value
    return raw.decode(errors="replace") if raw else header.value


def _status(headers: Any) -> int | None:
    for header in headers.headers:
        if header.key == ":status":
            text = _value(header)
            return int(text) if len(text) == 3 and text.isdecimal() else None
    return None


def _subset(request: Any) -> Subset | None:
    """The gateway's subset: a list, or one string with commas.

    None: the gateway sets none.  Anything else than addresses there allows no address: a subset
    that is not understood must not widen to the whole pool.
    """
    if not request.HasField("metadata_context"):
        return None
    metadata = request.metadata_context.filter_metadata
    if SUBSET_NAMESPACE not in metadata or SUBSET not in metadata[SUBSET_NAMESPACE].fields:
        return None
    value = metadata[SUBSET_NAMESPACE].fields[SUBSET]
    match value.WhichOneof("kind"):
        case "list_value":
            items = [item.string_value for item in value.list_value.values]
        case "string_value":
            items = value.string_value.split(",")
        case _:
            items = []
    return tuple(stripped for item in items if (stripped := item.strip()))


def _upstream(request: Any) -> Upstream | None:
    if _ATTRIBUTES not in request.attributes:
        return None
    fields = request.attributes[_ATTRIBUTES].fields
    code = fields["response.code"].number_value if "response.code" in fields else 0
    return Upstream(
        request_id=_text(fields, "request.id"),
        endpoint_id=_text(fields, "upstream.address"),
        status=int(code) or None,
    )


def _text(fields: Any, name: str) -> str | None:
    return (fields[name].string_value or None) if name in fields else None


def encode(reply: Reply) -> bytes:
    match reply:
        case Continue(part):
            return _passes(part)
        case ChangeMode():
            return _changes_mode(reply)
        case Route():
            return wire.route(reply)
        case ReplaceBody(body):
            mutation = pb.BodyMutation(body=body) if body else pb.BodyMutation(clear_body=True)
            return _body_answer(Part.REQUEST_BODY, mutation)
        case StreamedChunk(part, body, end_of_stream):
            streamed = pb.StreamedBodyResponse(body=body, end_of_stream=end_of_stream)
            return _body_answer(part, pb.BodyMutation(streamed_response=streamed))
        case Immediate():
            return _immediate(reply)
        case _:
            assert_never(reply)


@cache
def _passes(part: Part) -> bytes:
    response = pb.ProcessingResponse()
    getattr(response, part).SetInParent()
    data: bytes = response.SerializeToString()
    return data


@cache
def _changes_mode(reply: ChangeMode) -> bytes:
    mode = ProcessingMode(
        request_header_mode=ProcessingMode.SEND,
        response_header_mode=ProcessingMode.SEND,
        request_body_mode=reply.request_body_mode.value,
        response_body_mode=reply.response_body_mode.value,
    )
    response = pb.ProcessingResponse(mode_override=mode)
    getattr(response, reply.part).SetInParent()
    data: bytes = response.SerializeToString()
    return data


def _body_answer(part: Part, mutation: Any) -> bytes:
    answer = pb.BodyResponse(response=pb.CommonResponse(body_mutation=mutation))
    data: bytes = pb.ProcessingResponse(**{part: answer}).SerializeToString()
    return data


def _immediate(reply: Immediate) -> bytes:
    headers = [
        HeaderValueOption(
            header=HeaderValue(key=name, raw_value=value.encode()), append_action=_OVERWRITE
        )
        for name, value in reply.headers
    ]
    response = pb.ProcessingResponse(
        immediate_response=pb.ImmediateResponse(
            status=HttpStatus(code=reply.status),
            headers=pb.HeaderMutation(set_headers=headers),
            body=reply.body,
            details=reply.details,
        )
    )
    data: bytes = response.SerializeToString()
    return data
