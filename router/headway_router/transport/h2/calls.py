"""The open calls of a connection: from a request's head to the answer's end, in gRPC's terms."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from heapq import heapify, heappop, heappush

from headway_router.errors import CallFailed, ProtocolViolation
from headway_router.transport import Deliver, Stream
from headway_router.transport.h2.call import Call
from headway_router.transport.h2.frames import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    ErrorCode,
    frame,
    rst_stream,
)
from headway_router.transport.h2.limits import Limits
from headway_router.transport.h2.messages import MessageReader
from headway_router.transport.h2.request_head import RequestHead
from headway_router.transport.h2.sender import Sender
from headway_router.transport.h2.status import (
    OK_ALONE,
    OK_TRAILERS,
    Status,
    http_refusal,
    trailers,
    trailers_only,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """What serves the calls of a path."""

    open: Callable[[Mapping[str, str], Deliver], Stream]
    outlives_request: bool = False
    """The peer ends its half with its question, and listens on."""


class Past(Enum):
    """How a stream that is closed has ended."""

    LEFT = auto()
    """By us, before the peer had ended its half: more of it may be on its way."""
    ENDED = auto()
    """By both."""
    RESET = auto()
    """By the peer's RST_STREAM, which may also follow the two others: Envoy always sends it."""


Routes = Mapping[str, Route]
"""By path."""

_REMEMBERED = 8192
_NOT_GRPC = b"This port serves gRPC.\n"


class Calls:
    """``has_news`` is called when there is output that no input has caused."""

    def __init__(self, routes: Routes, limits: Limits, has_news: Callable[[], None]) -> None:
        self._routes = routes
        self._limits = limits
        self._has_news = has_news
        self.sender = Sender(self._sent)
        self.open: dict[int, Call] = {}
        self.past: dict[int, Past] = {}
        """The latest streams that are closed."""
        self._deadlines: list[tuple[float, int]] = []
        self._held_bytes = 0
        """Of incomplete messages."""

    @property
    def next_deadline_s(self) -> float:
        return self._deadlines[0][0] if self._deadlines else float("inf")

    def begin(self, stream_id: int, head: RequestHead, now_s: float, *, has_ended: bool) -> None:
        """Open a call, or answer it at once."""
        if head.http_status != 200:
            return self._refuse(stream_id, head, now_s, has_ended=has_ended)
        route = self._routes.get(head.path)
        if route is None:
            block = trailers_only(Status.UNIMPLEMENTED, "no such method")
            return self.answer(stream_id, block, has_ended=has_ended)
        call = self._call(stream_id, head, now_s)
        call.stream = route.open(head.metadata, call.deliver)
        call.outlives_request = route.outlives_request
        self.open[stream_id] = call
        if head.timeout_s is not None:
            self._set_deadline(now_s + head.timeout_s, stream_id)
        if has_ended:
            self.peer_ended(call)
        return None

    def answer(self, stream_id: int, block: bytes, *, has_ended: bool) -> None:
        """With headers only."""
        self.sender.control(frame(HEADERS, END_HEADERS | END_STREAM, stream_id, block))
        if not has_ended:
            self.sender.control(rst_stream(stream_id, ErrorCode.NO_ERROR))
        self.remember(stream_id, Past.ENDED if has_ended else Past.LEFT)

    def feed(self, call: Call, data: bytes, at: int, end: int) -> None:
        """Take a part of the call's data; its messages are answered, or end it."""
        try:
            for message in call.reader.feed(data, at, end):
                if replies := call.stream.receive(message):
                    self.sender.messages(call, replies)
                if call.stream.is_over:
                    self._end(call)
                    break
        except ProtocolViolation as violation:
            self._fail(call, Status.INVALID_ARGUMENT, str(violation))
        except CallFailed as failed:
            self._fail(call, failed.status, str(failed))
        except Exception:
            log.exception("h2.call_failed")
            self._fail(call, Status.UNKNOWN, "the router has failed")
        if not call.is_over:
            held = call.reader.held_bytes
            self._held_bytes += held - call.held_bytes
            call.held_bytes = held
        self._check_room(call)

    def peer_ended(self, call: Call) -> None:
        """A gateway that ends its half does not wait for an answer any longer."""
        call.peer_has_ended = True
        if call.is_over:
            if call.refusal is not None:
                self.sender.refuse(call, call.refusal, _NOT_GRPC)
        elif call.held_bytes:
            self._fail(call, Status.INTERNAL, "the last message is cut short")
        elif not (call.outlives_request and call.stream.is_waiting):
            self._end(call)

    def reset(self, call: Call, code: ErrorCode) -> None:
        """The peer has broken a rule of its stream."""
        self.sender.control(rst_stream(call.stream_id, code))
        self.cancel(call, Past.LEFT)

    def cancel(self, call: Call, past: Past = Past.RESET) -> None:
        """Nothing more can be sent."""
        self._forget(call, past)
        if not call.is_over:
            self._close(call)

    def cancel_all(self) -> None:
        """All are out of reach before the first is closed, as that may answer others of them."""
        calls = list(self.open.values())
        for call in calls:
            self._forget(call, Past.LEFT)
        for call in calls:
            if not call.is_over:
                self._close(call)
        self._deadlines.clear()

    def expire(self, now_s: float) -> None:
        """End the calls whose callers do not wait any longer."""
        while self._deadlines and self._deadlines[0][0] <= now_s:
            call = self.open.get(heappop(self._deadlines)[1])
            if call is not None and not call.is_over:
                self._fail(call, Status.DEADLINE_EXCEEDED, "the deadline has passed")

    def remember(self, stream_id: int, past: Past) -> None:
        self.past[stream_id] = past
        if len(self.past) > _REMEMBERED:
            del self.past[next(iter(self.past))]

    def _call(self, stream_id: int, head: RequestHead, now_s: float) -> Call:
        reader = MessageReader(self._limits.max_message_bytes)
        call = Call(stream_id, now_s, reader, self._deliver)
        call.content_left = head.content_length
        return call

    def _refuse(self, stream_id: int, head: RequestHead, now_s: float, *, has_ended: bool) -> None:
        """What is not gRPC gets its status when it is complete, as HTTP's clients expect."""
        call = self._call(stream_id, head, now_s)
        call.is_over = True
        call.refusal = http_refusal(head.http_status)
        self.open[stream_id] = call
        if has_ended:
            self.peer_ended(call)

    def _deliver(self, call: Call, messages: Sequence[bytes]) -> None:
        if call.is_over:
            return
        if messages:
            self.sender.messages(call, messages)
        if call.stream.is_over:
            self._end(call)
        self._check_room(call)
        self._has_news()

    def _end(self, call: Call) -> None:
        self._close(call)
        self.sender.end(call, OK_TRAILERS if call.has_begun else OK_ALONE)

    def _fail(self, call: Call, status: int, message: str) -> None:
        make = trailers if call.has_begun else trailers_only
        self._close(call)
        self.sender.end(call, make(status, message))

    def _check_room(self, call: Call) -> None:
        """Where the connection holds more than it may, the call that asks for more has to go."""
        if self._held_bytes + self.sender.held_bytes <= self._limits.max_buffered_bytes:
            return
        if call.pending:
            self.reset(call, ErrorCode.ENHANCE_YOUR_CALM)
        elif not call.is_over:
            self._fail(call, Status.RESOURCE_EXHAUSTED, "too much is buffered for this connection")

    def _close(self, call: Call) -> None:
        call.is_over = True
        self._held_bytes -= call.held_bytes
        call.held_bytes = 0
        call.reader.clear()
        try:
            call.stream.close()
        except Exception:
            log.exception("h2.call_failed")

    def _sent(self, call: Call) -> None:
        past = Past.ENDED
        if not call.peer_has_ended:
            past = Past.LEFT
            self.sender.control(rst_stream(call.stream_id, ErrorCode.NO_ERROR))
        self._forget(call, past)

    def _forget(self, call: Call, past: Past) -> None:
        self.open.pop(call.stream_id, None)
        self.sender.drop(call)
        self.remember(call.stream_id, past)

    def _set_deadline(self, deadline_s: float, stream_id: int) -> None:
        """Those of calls that have ended stay until they are due, or are the most."""
        if len(self._deadlines) > 2 * len(self.open) + _REMEMBERED:
            self._deadlines = [d for d in self._deadlines if d[1] in self.open]
            heapify(self._deadlines)
        heappush(self._deadlines, (deadline_s, stream_id))
