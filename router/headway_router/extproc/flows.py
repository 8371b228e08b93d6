"""How a request's body arrives and its answer is given, one class per body mode.

In all modes nothing of the body is forwarded before the request is placed: what was not read must
not reach an engine, and a refusal must still be possible.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace

from headway_router.errors import RejectReason, RequestRejected
from headway_router.extproc.messages import (
    Body,
    BodyMode,
    Continue,
    Part,
    ProtocolConfig,
    ReplaceBody,
    Reply,
    RequestBody,
    Route,
    StreamedChunk,
)

CHUNK_BYTES = 62_000
"""Some gateways cap a chunk of FULL_DUPLEX_STREAMED at 64 kB."""

_HEADERS_PASS = Continue(Part.REQUEST_HEADERS)
_BODY_PASSES = Continue(Part.REQUEST_BODY)
_TRAILERS_PASS = Continue(Part.REQUEST_TRAILERS)


class Flow(ABC):
    """Collects the body and says how each message and the decision are answered."""

    def __init__(self) -> None:
        self.chunks: list[Body] = []
        self.is_complete = False
        """The request can be decided."""
        self.may_be_truncated = False
        """More of the body may follow, which the gateway will not show."""
        self._has_trailers = False

    @property
    def body(self) -> Body:
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)

    def body_was_read(self) -> None:  # noqa: B027  # most modes send the body back
        """The body was read: forget it, where the gateway keeps it."""

    def answer_was_given(self) -> None:
        """Forget the body: a response takes minutes, and thousands are under way."""
        self.chunks.clear()

    @abstractmethod
    def headers(self) -> list[Reply]:
        """Answer headers that a body follows."""

    def chunk(self, message: RequestBody) -> list[Reply]:
        self.chunks.append(message.body)
        self.is_complete = message.end_of_stream
        return []

    def trailers(self) -> None:
        """They end the request.

        Raises: RequestRejected: if the mode cannot answer with a destination any more.
        """
        self._has_trailers = self.is_complete = True

    @abstractmethod
    def answer(self, route: Route, body: bytes | None) -> list[Reply]:
        """``route`` answers headers.  ``body`` replaces the client's; None: that one goes on."""


def flow_for(config: ProtocolConfig) -> Flow | None:
    """None: the gateway sends no body, so its headers decide."""
    match config.request_body_mode:
        case BodyMode.NONE:
            return None
        case BodyMode.STREAMED:
            return HeldStream() if config.sends_body_early else Stream()
        case BodyMode.BUFFERED | BodyMode.BUFFERED_PARTIAL:
            return Buffered()
        case BodyMode.FULL_DUPLEX_STREAMED:
            return Duplex()


class Buffered(Flow):
    """Headers are answered at once; the one body message carries the decision.

    It decides even without end of stream: then trailers follow, or (BUFFERED_PARTIAL) the rest
    of a body that is longer than the gateway's buffer.
    """

    def headers(self) -> list[Reply]:
        return [_HEADERS_PASS]

    def chunk(self, message: RequestBody) -> list[Reply]:
        super().chunk(message)
        self.may_be_truncated = not self.is_complete
        self.is_complete = True
        return []

    def trailers(self) -> None:
        raise _no_trailers()

    def body_was_read(self) -> None:
        self.chunks.clear()

    def answer(self, route: Route, body: bytes | None) -> list[Reply]:
        length = None if body is None else len(body)
        return [Route(Part.REQUEST_BODY, route.target, route.request_id, body, length)]


class Duplex(Flow):
    """FULL_DUPLEX_STREAMED: all answers wait for the end, then the whole body is sent back."""

    def headers(self) -> list[Reply]:
        return []

    def answer(self, route: Route, body: bytes | None) -> list[Reply]:
        # Without any chunk (headers, then trailers) there is no body to send back.
        pieces = list(_pieces(self.chunks if body is None else (body,))) if self.chunks else []
        last = len(pieces) - 1
        replies: list[Reply] = [_with_length(route, body)]
        replies += [
            StreamedChunk(Part.REQUEST_BODY, piece, i == last and not self._has_trailers)
            for i, piece in enumerate(pieces)
        ]
        if self._has_trailers:
            replies.append(_TRAILERS_PASS)
        return replies


class Stream(Flow):
    """STREAMED: each chunk is answered by itself, and the gateway waits for that.

    Chunks before the last are answered with nothing in their place, and the last with all of
    them: the engine never gets a byte that was not read.  Envoy 1.40 obeys the destination
    although it comes after the headers' answer (bodies of 3 MB, in many chunks).
    """

    def headers(self) -> list[Reply]:
        return [_HEADERS_PASS]

    def chunk(self, message: RequestBody) -> list[Reply]:
        super().chunk(message)
        return [] if self.is_complete else [ReplaceBody(b"")]

    def trailers(self) -> None:
        raise _no_trailers()

    def answer(self, route: Route, body: bytes | None) -> list[Reply]:
        length = None if body is None else len(body)
        if body is None and len(self.chunks) > 1:
            body = b"".join(self.chunks)
        return [Route(Part.REQUEST_BODY, route.target, route.request_id, body, length)]


class HeldStream(Flow):
    """STREAMED without waiting for the answer to the headers: that one is held to the end."""

    def headers(self) -> list[Reply]:
        return []

    def answer(self, route: Route, body: bytes | None) -> list[Reply]:
        replies: list[Reply] = [_with_length(route, body)]
        if body is None:
            replies += [_BODY_PASSES] * len(self.chunks)
        elif self.chunks:
            replies += [ReplaceBody(body), *[ReplaceBody(b"")] * (len(self.chunks) - 1)]
        if self._has_trailers:
            replies.append(_TRAILERS_PASS)
        return replies


def _with_length(route: Route, body: bytes | None) -> Route:
    return route if body is None else replace(route, content_length=len(body))


def echo(mode: BodyMode, body: bytes, end_of_stream: bool) -> Reply:
    """The answer to a chunk of a response, which passes as it is."""
    if mode is BodyMode.FULL_DUPLEX_STREAMED:
        return StreamedChunk(Part.RESPONSE_BODY, body, end_of_stream)
    return Continue(Part.RESPONSE_BODY)


def _pieces(chunks: Sequence[Body]) -> Iterator[bytes]:
    """The same bytes in pieces of at most ``CHUNK_BYTES``; one empty piece of an empty body."""
    if not any(chunks):
        yield b""
    for chunk in chunks:
        if len(chunk) <= CHUNK_BYTES:
            if chunk:
                yield bytes(chunk)
        else:
            for start in range(0, len(chunk), CHUNK_BYTES):
                yield bytes(chunk[start : start + CHUNK_BYTES])


def _no_trailers() -> RequestRejected:
    return RequestRejected(
        RejectReason.TRAILERS, "a request with trailers needs the body mode FULL_DUPLEX_STREAMED"
    )
