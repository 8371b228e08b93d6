"""The ext_proc conversation as plain values, independent of protobuf."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from headway_core.events import Event
from headway_core.facts import EndpointId, InferenceRequest
from headway_core.values import value
from headway_router.errors import RejectReason
from headway_router.sampling import Sample


class BodyMode(IntEnum):
    """The numbers of ``ProcessingMode.BodySendMode``."""

    NONE = 0
    STREAMED = 1
    BUFFERED = 2
    BUFFERED_PARTIAL = 3
    FULL_DUPLEX_STREAMED = 4


class Part(StrEnum):
    """Of an HTTP exchange; the field of the protobuf that carries it and its answer."""

    REQUEST_HEADERS = "request_headers"
    REQUEST_BODY = "request_body"
    REQUEST_TRAILERS = "request_trailers"
    RESPONSE_HEADERS = "response_headers"
    RESPONSE_BODY = "response_body"
    RESPONSE_TRAILERS = "response_trailers"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolConfig:
    """How the gateway sends bodies.  The defaults are a gateway's that does not say so."""

    request_body_mode: BodyMode = BodyMode.FULL_DUPLEX_STREAMED
    response_body_mode: BodyMode = BodyMode.FULL_DUPLEX_STREAMED
    sends_body_early: bool = False
    """The body is sent without waiting for the answer to the headers."""


Body = bytes | memoryview
"""A part of the message that it came in, or bytes: long prompts are not copied to be looked at."""

Subset = tuple[str, ...]
"""Addresses that the gateway allows, with or without a port; empty: none of them."""


@value
class RequestHeaders:
    headers: Mapping[str, str]
    """Names in lower case; a repeated header's values joined by commas."""
    end_of_stream: bool = False
    subset: Subset | None = None


@value
class RequestBody:
    body: Body
    end_of_stream: bool = True
    subset: Subset | None = None


@dataclass(frozen=True, slots=True)
class RequestTrailers:
    pass


@value
class ResponseHeaders:
    status: int | None = None
    end_of_stream: bool = False


@value(kw_only=True)
class Upstream:
    """What the gateway says of the server that responds.  None: it does not say."""

    request_id: str | None = None
    endpoint_id: EndpointId | None = None
    status: int | None = None


@value
class ResponseBody:
    body: bytes
    end_of_stream: bool = False
    upstream: Upstream | None = None


@dataclass(frozen=True, slots=True)
class ResponseTrailers:
    pass


Message = (
    RequestHeaders
    | RequestBody
    | RequestTrailers
    | ResponseHeaders
    | ResponseBody
    | ResponseTrailers
)


@value
class Received:
    """A message, and what the gateway says of the whole stream (in its first message only)."""

    message: Message
    config: ProtocolConfig | None = None
    is_observed: bool = False
    """Observability mode: the gateway waits for no answer."""


@dataclass(frozen=True, slots=True)
class Continue:
    """Let the part pass as it is."""

    part: Part


@dataclass(frozen=True, slots=True)
class ChangeMode:
    """Let the headers pass; show the response's headers, and its body in that mode.

    The request's mode is restated, as a mode that is left out means that nothing is sent.
    """

    part: Part
    request_body_mode: BodyMode
    response_body_mode: BodyMode


@value
class Target:
    """Where requests go; the same value for many of them."""

    destination: str
    """One ``ip:port``, or two with a comma: the second if the first refuses."""
    pool: str
    vllm_priority: int | None = None
    shown: str | None = None
    """For the client to see; None: nothing."""


@value
class Route:
    """Send the request to ``target``; the answer to its headers, or to its body."""

    part: Part
    target: Target
    request_id: str
    body: bytes | None = None
    """In place of the client's; None: that one."""
    content_length: int | None = None
    """Of the body in all; None: it has not changed."""
    traceparent: str | None = None
    """In place of the client's; None: that one, if any."""


@dataclass(frozen=True, slots=True)
class ReplaceBody:
    """The chunk of the request that is answered becomes this."""

    body: bytes


@value
class StreamedChunk:
    """A piece of a body whose chunks are not answered one for one (FULL_DUPLEX_STREAMED)."""

    part: Part
    body: bytes
    end_of_stream: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Immediate:
    """Answer the client at once; the stream is over."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    details: str
    """For the gateway's access log."""
    rejected: RejectReason | None = None
    """Why, if the input was bad."""


Reply = Continue | ChangeMode | Route | ReplaceBody | StreamedChunk | Immediate


@value
class Place:
    """Ask the core; ``Session.resume`` takes each of its outcomes."""

    request: InferenceRequest


@value
class Report:
    """Tell the core."""

    event: Event


@dataclass(frozen=True, slots=True)
class EngineRefused:
    """The engine answered with an error: the request is over, though its stream is not yet."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Read:
    """Learn from the next bytes of a response."""

    sample: Sample
    body: bytes
    end_of_stream: bool


@dataclass(frozen=True, slots=True)
class Unread:
    """No more of a response will come; without effect where all of it has."""

    sample: Sample


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The client left before its request was complete: the core never heard of it."""


Effect = Place | Report | EngineRefused | Read | Unread | Abandoned
