"""Reads and writes the protobufs that are large or many, without building their objects.

A request's body is looked at inside its message, which spares two copies.  An answer with a
destination is fifteen nested messages; built as such it takes 30 us, as bytes 4.  The numbers are
those of ``envoy/service/ext_proc/v3/external_processor.proto`` and
``envoy/config/core/v3/base.proto``; a test reads the result back with Envoy's own classes.
"""

from functools import lru_cache

from headway_router.extproc.headers import (
    DECISION,
    DESTINATION,
    DESTINATION_NAMESPACE,
    headers_of_request,
    headers_of_target,
    headers_removed,
)
from headway_router.extproc.messages import Part, Route, Target

_REQUEST_BODY_TAG = 0x22
"""The first byte of a ProcessingRequest with nothing in it but a ``request_body``."""
_HTTP_BODY_TAG = 0x0A
_END_OF_STREAM = b"\x10\x01"
"""Of HttpBody."""

_ANSWERS = {Part.REQUEST_HEADERS: 1, Part.REQUEST_BODY: 3}
"""Fields of ProcessingResponse."""
_DYNAMIC_METADATA = 8

_RESPONSE = 1
"""Of HeadersResponse and BodyResponse: a CommonResponse, whose fields are the next three."""
_HEADER_MUTATION = 2
_BODY_MUTATION = 3
_CLEAR_ROUTE_CACHE = b"\x28\x01"

_SET_HEADERS = 1
_REMOVE_HEADERS = 2
"""Of HeaderMutation."""
_HEADER = 1
_OVERWRITE_IF_EXISTS_OR_ADD = b"\x18\x02"
"""Of HeaderValueOption."""
_KEY = 1
_RAW_VALUE = 3
"""Of HeaderValue."""
_BODY = 1
"""Of BodyMutation."""

_FIELDS = 1
"""Of Struct: a map, whose entries have the next two."""
_MAP_KEY = 1
_MAP_VALUE = 2
_STRING_VALUE = 3
_STRUCT_VALUE = 5
"""Of Value."""


def request_body(message: bytes) -> tuple[memoryview, bool] | None:
    """Body and end of stream of a ProcessingRequest in the form that gateways send.

    None: it has another form, or is none; a full parser will tell.
    """
    size = len(message)
    if size < 4 or message[0] != _REQUEST_BODY_TAG:
        return None
    length, at = _read_varint(message, 1)
    if at + length != size or at >= size or message[at] != _HTTP_BODY_TAG:
        return None
    length, at = _read_varint(message, at + 1)
    end = at + length
    rest = message[end:]
    if end > size or rest not in (b"", _END_OF_STREAM):
        return None
    return memoryview(message)[at:end], bool(rest)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number and where it ends; beyond the data it is -1."""
    value = shift = 0
    for i in range(at, min(at + 5, len(data))):
        value |= (data[i] & 0x7F) << shift
        if data[i] < 0x80:
            return value, i + 1
        shift += 7
    return -1, at


def route(reply: Route) -> bytes:
    """A ProcessingResponse that sends the request to its target."""
    request_id = reply.request_id.encode()
    is_plain = reply.content_length is None and reply.body is None and reply.traceparent is None
    if is_plain and len(request_id) >= _LEAST_FRAMED:
        before, after = _around_id(reply.part, reply.target, len(request_id))
        return before + request_id + after
    return _route(reply)


_LEAST_FRAMED = 8
"""Shorter ids are not told apart from other bytes of a message."""


@lru_cache(maxsize=4096)
def _around_id(part: Part, target: Target, id_bytes: int) -> tuple[bytes, bytes]:
    """What answers to one target have before and after a request id of that length."""
    stand_in = "\x01" * id_bytes
    before, _, after = _route(Route(part, target, stand_in)).partition(stand_in.encode())
    return before, after


def _route(reply: Route) -> bytes:
    set_headers, remove_headers, dynamic_metadata = _of_target(reply.target)
    own = [_set_header(name, value.encode()) for name, value in headers_of_request(reply)]
    headers = b"".join((set_headers, *own, remove_headers))
    common = _field(_HEADER_MUTATION, headers)
    if reply.body is not None:
        common += _field(_BODY_MUTATION, _field(_BODY, reply.body))
    answer = _field(_RESPONSE, common + _CLEAR_ROUTE_CACHE)
    return _field(_ANSWERS[reply.part], answer) + dynamic_metadata


@lru_cache(maxsize=4096)
def _of_target(target: Target) -> tuple[bytes, bytes, bytes]:
    """What many answers share: headers to set, headers to remove, and the metadata."""
    headers = [_set_header(name, value.encode()) for name, value in headers_of_target(target)]
    removals = [_field(_REMOVE_HEADERS, name.encode()) for name in headers_removed(target)]
    return b"".join(headers), b"".join(removals), _metadata(target)


def _set_header(name: str, value: bytes) -> bytes:
    header = _field(_KEY, name.encode()) + _field(_RAW_VALUE, value)
    return _field(_SET_HEADERS, _field(_HEADER, header) + _OVERWRITE_IF_EXISTS_OR_ADD)


def _metadata(target: Target) -> bytes:
    """``dynamic_metadata``: ``{"envoy.lb": {"x-gateway-destination-endpoint": destination}}``, and
    what the client is shown.
    """
    inner = _entry(DESTINATION, _field(_STRING_VALUE, target.destination.encode()))
    if target.shown is not None:
        inner += _entry(DECISION, _field(_STRING_VALUE, target.shown.encode()))
    outer = _entry(DESTINATION_NAMESPACE, _field(_STRUCT_VALUE, inner))
    return _field(_DYNAMIC_METADATA, outer)


def _entry(key: str, value: bytes) -> bytes:
    return _field(_FIELDS, _field(_MAP_KEY, key.encode()) + _field(_MAP_VALUE, value))


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited field; its number is below 16, so the tag is one byte."""
    size = len(payload)
    if size < 0x80:
        return bytes((number << 3 | 2, size)) + payload
    return bytes((number << 3 | 2,)) + _varint(size) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
