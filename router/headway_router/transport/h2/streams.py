"""Frames of streams: opens, feeds and resets calls as RFC 9113, 5 and 6, say."""

from collections.abc import Callable
from contextlib import suppress

from headway_router.errors import ConnectionBroken
from headway_router.transport.h2.call import Call
from headway_router.transport.h2.calls import Calls, Past
from headway_router.transport.h2.frames import (
    END_STREAM,
    MAX_STREAM_ID,
    MAX_WINDOW,
    PADDED,
    ErrorCode,
    rst_stream,
    unpadded,
)
from headway_router.transport.h2.header_blocks import HeaderDecoder, HeadersTooLarge
from headway_router.transport.h2.header_frames import HeaderFrames, depends_on
from headway_router.transport.h2.heads import HeadReader
from headway_router.transport.h2.inbound import Inbound
from headway_router.transport.h2.limits import Allowance, Limits
from headway_router.transport.h2.request_head import MalformedHead, check_trailers
from headway_router.transport.h2.status import Status, trailers_only


class Streams:
    """``count_control`` counts a frame that is cheap to send and moves nothing.

    Every method for a frame raises ConnectionBroken where its rule is one of the connection.
    """

    def __init__(
        self, calls: Calls, limits: Limits, now_s: float, count_control: Callable[[], None]
    ) -> None:
        self._calls = calls
        self._sender = calls.sender
        self._limits = limits
        self._count_control = count_control
        self._resets = Allowance(limits.reset_burst, limits.resets_per_s, now_s)
        self._decoder = HeaderDecoder(limits.max_header_list_bytes)
        self._heads = HeadReader(self._decoder, limits.varying_header)
        self._inbound = Inbound(self._sender)
        self.now_s = now_s
        """Of the input that is worked on."""
        self.headers = HeaderFrames(limits)
        self.last_id = 0
        """The highest that the peer has opened."""
        self.refused_above = MAX_STREAM_ID
        """Streams above it came after our last GOAWAY, and the peer knows that they are lost."""

    def table_is_empty(self) -> None:
        """The peer has applied our settings."""
        self._decoder.table_is_empty()

    # -- DATA --------------------------------------------------------------------------------

    def data(self, flags: int, stream_id: int, data: bytes, at: int, end: int) -> None:
        size = end - at
        self._inbound.take(size)
        call = self._calls.open.get(stream_id)
        if call is None or call.peer_has_ended:
            self._check_opened(stream_id)
            return self._on_closed(stream_id, call)
        if flags & PADDED:
            at, end = unpadded(flags, data, at, end)
        ends = flags & END_STREAM
        if not ends:
            if at == end:
                self._count_control()
            if not self._inbound.take_of(call, size):
                return self._reset(call, ErrorCode.FLOW_CONTROL_ERROR)
        if call.content_left is not None:
            call.content_left -= end - at
            if call.content_left < 0 or (ends and call.content_left):
                return self._reset(call, ErrorCode.PROTOCOL_ERROR)
        call.peer_has_ended = bool(ends)
        if at < end and not call.is_over:
            self._calls.feed(call, data, at, end)
        if ends:
            self._calls.peer_ended(call)
        return None

    # -- HEADERS, CONTINUATION -----------------------------------------------------------------

    def header_frame(self, flags: int, stream_id: int, data: bytes, at: int, end: int) -> None:
        if not stream_id & 1:
            message = f"HEADERS on stream {stream_id}"
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, message)
        block = self.headers.begin(flags, stream_id, data, at, end)
        if block is not None:
            self._header_block(block)

    def continuation(self, flags: int, stream_id: int, data: bytes, at: int, end: int) -> None:
        block = self.headers.go_on(flags, stream_id, data, at, end)
        if block is not None:
            self._header_block(block)

    def _header_block(self, block: bytes) -> None:
        stream_id = self.headers.stream_id
        call = self._calls.open.get(stream_id)
        if stream_id > self.last_id:
            self.last_id = stream_id
            self._open(stream_id, block)
        elif call is not None:
            self._trailers(call, block)
        else:
            self._late_headers(stream_id, block)

    def _open(self, stream_id: int, block: bytes) -> None:
        """The block is read in any case, as later ones may build on it."""
        has_ended = self.headers.ends_stream
        try:
            head = self._heads.read(block)
        except HeadersTooLarge:
            if stream_id <= self.refused_above:
                answer = trailers_only(Status.RESOURCE_EXHAUSTED, "the headers are too long")
                self._calls.answer(stream_id, answer, has_ended=has_ended)
            return None
        except MalformedHead:
            return self._refuse(stream_id, ErrorCode.PROTOCOL_ERROR)
        if stream_id > self.refused_above:
            return None
        if len(self._calls.open) >= self._limits.max_streams:
            return self._refuse(stream_id, ErrorCode.REFUSED_STREAM)
        if self.headers.depends_on_itself or (has_ended and head.content_length):
            return self._refuse(stream_id, ErrorCode.PROTOCOL_ERROR)
        return self._calls.begin(stream_id, head, self.now_s, has_ended=has_ended)

    def _late_headers(self, stream_id: int, block: bytes) -> None:
        with suppress(HeadersTooLarge):
            self._decoder.decode(block)
        past = self._calls.past.get(stream_id)
        if past is not Past.LEFT:
            code = ErrorCode.STREAM_CLOSED if past else ErrorCode.PROTOCOL_ERROR
            raise ConnectionBroken(code, f"HEADERS on stream {stream_id}, which is closed")

    def _trailers(self, call: Call, block: bytes) -> None:
        try:
            fields = self._decoder.decode(block)
        except HeadersTooLarge:
            return self._reset(call, ErrorCode.ENHANCE_YOUR_CALM)
        if call.peer_has_ended:
            return self._reset(call, ErrorCode.STREAM_CLOSED)
        try:
            check_trailers(fields)
        except MalformedHead:
            return self._reset(call, ErrorCode.PROTOCOL_ERROR)
        if not self.headers.ends_stream or call.content_left:
            return self._reset(call, ErrorCode.PROTOCOL_ERROR)
        return self._calls.peer_ended(call)

    # -- PRIORITY, RST_STREAM, WINDOW_UPDATE ---------------------------------------------------

    def priority(self, _: int, stream_id: int, data: bytes, at: int, end: int) -> None:
        self._count_control()
        if not stream_id:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if end - at != 5:
            self._stream_error(stream_id, ErrorCode.FRAME_SIZE_ERROR)
        elif depends_on(data, at) == stream_id:
            self._stream_error(stream_id, ErrorCode.PROTOCOL_ERROR)

    def reset_frame(self, _: int, stream_id: int, data: bytes, at: int, end: int) -> None:
        if end - at != 4:
            raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM of a broken length")
        self._check_opened(stream_id)
        call = self._calls.open.get(stream_id)
        if call is None:
            return self._late_reset(stream_id)
        self._calls.cancel(call)
        if self.now_s - call.opened_s < self._limits.young_s:
            self._count_reset()
        return None

    def _late_reset(self, stream_id: int) -> None:
        past = self._calls.past.get(stream_id)
        if past is None or past is Past.RESET:
            self._count_control()
        else:
            self._calls.past[stream_id] = Past.RESET

    def window_frame(self, _: int, stream_id: int, data: bytes, at: int, end: int) -> None:
        if end - at != 4:
            raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE of a broken length")
        increment = int.from_bytes(data[at:end]) & MAX_WINDOW
        if not stream_id:
            if not increment:
                raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
            return self._sender.widen(increment)
        self._check_opened(stream_id)
        if not increment:
            return self._stream_error(stream_id, ErrorCode.PROTOCOL_ERROR)
        call = self._calls.open.get(stream_id)
        if call is not None and not self._sender.widen_stream(call, increment):
            self._reset(call, ErrorCode.FLOW_CONTROL_ERROR)
        return None

    # -- errors of streams ---------------------------------------------------------------------

    def _check_opened(self, stream_id: int) -> None:
        if stream_id > self.last_id or not stream_id & 1:
            message = f"a frame on stream {stream_id}, which was not opened"
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, message)

    def _on_closed(self, stream_id: int, call: Call | None) -> None:
        """DATA for nobody.  What was on its way when we ended the stream is no fault."""
        if call is not None:
            self._reset(call, ErrorCode.STREAM_CLOSED)
        elif stream_id <= self.refused_above and not self._was_left(stream_id):
            self._sender.control(rst_stream(stream_id, ErrorCode.STREAM_CLOSED))
            self._count_reset()

    def _stream_error(self, stream_id: int, code: ErrorCode) -> None:
        call = self._calls.open.get(stream_id)
        if call is not None:
            self._reset(call, code)
        elif not self._was_left(stream_id):
            self._sender.control(rst_stream(stream_id, code))
            self._count_reset()

    def _was_left(self, stream_id: int) -> bool:
        return self._calls.past.get(stream_id) is Past.LEFT

    def _refuse(self, stream_id: int, code: ErrorCode) -> None:
        self._sender.control(rst_stream(stream_id, code))
        self._calls.remember(stream_id, Past.LEFT)
        self._count_reset()

    def _reset(self, call: Call, code: ErrorCode) -> None:
        self._calls.reset(call, code)
        self._count_reset()

    def _count_reset(self) -> None:
        """Those that we send count too: a peer can make us (CVE-2025-8671)."""
        if not self._resets.spend(self.now_s):
            raise ConnectionBroken(ErrorCode.ENHANCE_YOUR_CALM, "too many streams are reset")
