"""The way out of a connection: frames in order, and data that the peer's windows hold back."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from headway_router.errors import ConnectionBroken
from headway_router.transport.h2.call import Call
from headway_router.transport.h2.frames import (
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_WINDOW,
    ErrorCode,
    Setting,
    frame,
    frame_head,
)
from headway_router.transport.h2.messages import prefixed
from headway_router.transport.h2.status import ANSWER_HEADERS

_DEFAULT_FRAME_BYTES = 2**14
_LARGEST_FRAME_BYTES = 2**16
"""Longer ones, where the peer takes them, would let one call delay all others."""


class Sender:
    """``ended`` is called when everything of a call is sent, its end too."""

    def __init__(self, ended: Callable[[Call], None]) -> None:
        self._ended = ended
        self._out: list[bytes | memoryview] = []
        self._window = DEFAULT_WINDOW
        self._initial_window = DEFAULT_WINDOW
        self._largest_credit = 0
        self._frame_bytes = _DEFAULT_FRAME_BYTES
        self._await_connection: dict[int, Call] = {}
        """Calls held back by the connection's window, the longest waiting first."""
        self._await_stream: dict[int, Call] = {}
        self.held_bytes = 0
        self.data_bytes = 0
        """All that was ever sent, to see whether it goes on."""

    @property
    def has_output(self) -> bool:
        return bool(self._out)

    def take(self) -> bytes:
        """Everything that may be sent now."""
        out, self._out = self._out, []
        return b"".join(out)

    def control(self, sent: bytes) -> None:
        self._out.append(sent)

    def messages(self, call: Call, messages: Sequence[bytes]) -> None:
        if not call.has_begun:
            call.has_begun = True
            self._out.append(frame(HEADERS, END_HEADERS, call.stream_id, ANSWER_HEADERS))
        for message in messages:
            payload = prefixed(message)
            size = len(payload)
            if not call.pending and size <= self._room(call):
                self._emit(call, payload, size)
            else:
                call.pending.append(memoryview(payload))
                self.held_bytes += size
        if call.pending:
            self._pump(call)

    def refuse(self, call: Call, block: bytes, body: bytes) -> None:
        """Answer in HTTP's terms: without messages and trailers."""
        call.end_block = b""
        self._out.append(frame(HEADERS, END_HEADERS, call.stream_id, block))
        call.pending.append(memoryview(body))
        self.held_bytes += len(body)
        self._pump(call)

    def end(self, call: Call, block: bytes) -> None:
        """Send the trailers once nothing of the call is pending."""
        call.end_block = block
        if not call.pending:
            self._emit_end(call)

    def drop(self, call: Call) -> None:
        """Nothing more of it can be sent."""
        self.held_bytes -= sum(map(len, call.pending))
        call.pending.clear()
        self._await_connection.pop(call.stream_id, None)
        self._await_stream.pop(call.stream_id, None)

    def widen(self, increment: int) -> None:
        """Raises: ConnectionBroken: the window grows beyond its limit."""
        self._window += increment
        if self._window > MAX_WINDOW:
            message = "the connection's window is above 2^31-1"
            raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR, message)
        while self._window > 0 and self._await_connection:
            self._pump(self._await_connection.pop(next(iter(self._await_connection))))

    def widen_stream(self, call: Call, increment: int) -> bool:
        """False: the window has grown beyond its limit."""
        call.credit += increment
        self._largest_credit = max(self._largest_credit, call.credit)
        if self._initial_window + call.credit > MAX_WINDOW:
            return False
        if call.pending:
            self._pump(call)
        return True

    def apply(self, settings: Mapping[int, int], calls: Iterable[Call]) -> None:
        """Raises: ConnectionBroken: the window of one of the calls grows beyond its limit."""
        size = settings.get(Setting.MAX_FRAME_SIZE, self._frame_bytes)
        self._frame_bytes = min(size, _LARGEST_FRAME_BYTES)
        initial = settings.get(Setting.INITIAL_WINDOW_SIZE, self._initial_window)
        if initial + self._largest_credit > MAX_WINDOW:
            self._largest_credit = max((call.credit for call in calls), default=0)
            if initial + self._largest_credit > MAX_WINDOW:
                message = "a stream's window is above 2^31-1"
                raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR, message)
        is_wider = initial > self._initial_window
        self._initial_window = initial
        if is_wider:
            for call in list(self._await_stream.values()):
                self._pump(call)

    def _room(self, call: Call) -> int:
        return min(self._window, self._initial_window + call.credit, self._frame_bytes)

    def _pump(self, call: Call) -> None:
        pending = call.pending
        self._await_stream.pop(call.stream_id, None)
        while pending:
            room = self._room(call)
            if room <= 0:
                awaited = self._await_connection if self._window <= 0 else self._await_stream
                awaited[call.stream_id] = call
                return
            payload = pending[0]
            if (size := len(payload)) > room:
                size, pending[0] = room, payload[room:]
            else:
                pending.popleft()
            self.held_bytes -= size
            self._emit(call, payload[:size], size)
        self._await_connection.pop(call.stream_id, None)
        if call.end_block is not None:
            self._emit_end(call)

    def _emit(self, call: Call, payload: bytes | memoryview, size: int) -> None:
        self._window -= size
        call.credit -= size
        self.data_bytes += size
        self._out.append(frame_head(size, DATA, 0, call.stream_id))
        self._out.append(payload)

    def _emit_end(self, call: Call) -> None:
        if call.end_block:
            flags = END_HEADERS | END_STREAM
            self._out.append(frame(HEADERS, flags, call.stream_id, call.end_block))
        else:
            self._out.append(frame(DATA, END_STREAM, call.stream_id))
        self._ended(call)
