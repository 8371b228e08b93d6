"""One HTTP/2 connection of a client, without I/O: bytes in, calls and bytes out.

``receive`` and ``tick`` carry out all that is due; ``take`` has the bytes to send.  RFC 9113's
errors end the stream or the connection as it says; nothing that a peer sends raises.
"""

import logging
from collections.abc import Callable, Mapping

from headway_router.errors import ConnectionBroken
from headway_router.transport.h2 import frames
from headway_router.transport.h2.calls import Calls, Routes
from headway_router.transport.h2.frames import ErrorCode, Setting, frame, goaway
from headway_router.transport.h2.inbound import STREAM_WINDOW
from headway_router.transport.h2.limits import Allowance, Limits
from headway_router.transport.h2.liveness import Liveness, Verdict
from headway_router.transport.h2.streams import Streams

log = logging.getLogger(__name__)

_ARE_YOU_THERE = b"headway?"
_HAS_SEEN_GOAWAY = b"draining"
_PING_BYTES = 8

_Handler = Callable[[int, int, bytes, int, int], None]
"""Takes flags, stream id and the place of a payload."""


class Connection:
    """Serves ``routes``.  ``has_news`` is called when there is output that no input has caused."""

    def __init__(
        self, routes: Routes, limits: Limits, now_s: float, has_news: Callable[[], None]
    ) -> None:
        self._limits = limits
        self._now_s = now_s
        self._cutter = frames.Cutter()
        self._calls = Calls(routes, limits, has_news)
        self._sender = self._calls.sender
        self._streams = Streams(self._calls, limits, now_s, self._count_control)
        self._controls = Allowance(limits.control_burst, limits.controls_per_s, now_s)
        self._liveness = Liveness(limits, now_s)
        self._handlers: Mapping[int, _Handler] = {frames.SETTINGS: self._first_settings}
        self._drained_by_s = float("inf")
        """When new streams are refused even if the peer has not acknowledged."""
        self._is_draining = False
        self.is_finished = False
        """Once the output is written, the connection is to be closed."""
        self._greet()

    @property
    def open_calls(self) -> int:
        return len(self._calls.open)

    @property
    def has_output(self) -> bool:
        return self._sender.has_output

    @property
    def next_tick_s(self) -> float:
        """When ``tick`` is to be called if nothing happens before."""
        look_s = min(self._liveness.next_look_s, self._drained_by_s)
        return min(look_s, self._calls.next_deadline_s)

    def take(self) -> bytes:
        return self._sender.take()

    def receive(self, data: bytes, now_s: float) -> None:
        if self.is_finished:
            return
        self._now_s = self._streams.now_s = now_s
        self._liveness.heard(now_s)
        headers = self._streams.headers
        try:
            for kind, flags, stream_id, payload, at, end in self._cutter.cut(data):
                if headers.is_open:
                    _check_continuation(kind)
                handle = self._handlers.get(kind, self._ignore)
                handle(flags, stream_id, payload, at, end)
        except ConnectionBroken as broken:
            log.info("h2.connection_broken", extra={"code": broken.code, "why": str(broken)})
            self._finish(broken.code, str(broken))
        except Exception:
            log.exception("h2.connection_failed")
            self._finish(ErrorCode.INTERNAL_ERROR)
        self._leave_if_drained()

    def tick(self, now_s: float) -> None:
        """Do what is due by the clock."""
        if self.is_finished:
            return
        self._calls.expire(now_s)
        if now_s >= self._drained_by_s:
            self._refuse_new()
        if now_s >= self._liveness.next_look_s:
            self._act_on(self._look(now_s), now_s)
        self._leave_if_drained()

    def drain(self, now_s: float) -> None:
        """Ask the peer to go elsewhere; finished when the calls have ended that it began before.

        In two steps, so that no stream is refused that was on its way (RFC 9113, 6.8): new ones
        are served until the peer has acknowledged that it knows.
        """
        if self._is_draining or self.is_finished:
            return None
        self._is_draining = True
        if not self._has_settings:
            return self._finish(ErrorCode.NO_ERROR)
        self._sender.control(goaway(frames.MAX_STREAM_ID, ErrorCode.NO_ERROR))
        self._sender.control(frame(frames.PING, 0, 0, _HAS_SEEN_GOAWAY))
        self._drained_by_s = now_s + self._limits.answer_s
        return None

    def cut_off(self) -> None:
        """End it now, whatever is open."""
        self._finish(ErrorCode.NO_ERROR)

    def lost(self) -> None:
        """The peer has gone."""
        self.is_finished = True
        self._calls.cancel_all()

    # -- frames of the connection --------------------------------------------------------------

    @property
    def _has_settings(self) -> bool:
        return len(self._handlers) > 1

    def _greet(self) -> None:
        ours = {
            Setting.HEADER_TABLE_SIZE: 0,
            Setting.MAX_CONCURRENT_STREAMS: self._limits.max_streams,
            Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            Setting.MAX_HEADER_LIST_SIZE: self._limits.max_header_list_bytes,
        }
        self._sender.control(frames.settings(ours))
        increment = frames.MAX_WINDOW - frames.DEFAULT_WINDOW
        self._sender.control(frames.window_update(0, increment))

    def _ignore(self, _: int, __: int, ___: bytes, ____: int, _____: int) -> None:
        """Frames of extensions; but before anything else comes SETTINGS."""
        if not self._has_settings:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        self._count_control()

    def _first_settings(
        self, flags: int, stream_id: int, payload: bytes, at: int, end: int
    ) -> None:
        streams = self._streams
        self._handlers = {
            frames.DATA: streams.data,
            frames.HEADERS: streams.header_frame,
            frames.CONTINUATION: streams.continuation,
            frames.PRIORITY: streams.priority,
            frames.RST_STREAM: streams.reset_frame,
            frames.WINDOW_UPDATE: streams.window_frame,
            frames.SETTINGS: self._settings,
            frames.PING: self._ping,
            frames.GOAWAY: self._goaway,
            frames.PUSH_PROMISE: self._push_promise,
        }
        self._settings(flags, stream_id, payload, at, end)

    def _settings(self, flags: int, stream_id: int, payload: bytes, at: int, end: int) -> None:
        self._count_control()
        _check_connection("SETTINGS", stream_id)
        if flags & frames.ACK:
            if at != end:
                message = "an acknowledgement of SETTINGS with content"
                raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, message)
            return self._streams.table_is_empty()
        values = frames.read_settings(payload[at:end])
        # The acknowledgement precedes what the new values let pass.
        self._sender.control(frame(frames.SETTINGS, frames.ACK, 0))
        return self._sender.apply(values, self._calls.open.values())

    def _ping(self, flags: int, stream_id: int, payload: bytes, at: int, end: int) -> None:
        self._count_control()
        _check_connection("PING", stream_id)
        if end - at != _PING_BYTES:
            raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, "PING of a broken length")
        content = payload[at:end]
        if not flags & frames.ACK:
            self._sender.control(frame(frames.PING, frames.ACK, 0, content))
        elif self._is_draining and content == _HAS_SEEN_GOAWAY:
            self._refuse_new()

    def _goaway(self, _: int, stream_id: int, __: bytes, at: int, end: int) -> None:
        """The peer opens no more streams, and closes when the last has ended."""
        self._count_control()
        _check_connection("GOAWAY", stream_id)
        if end - at < 8:
            raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of a broken length")

    def _push_promise(self, _: int, __: int, ___: bytes, ____: int, _____: int) -> None:
        raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE from a client")

    def _count_control(self) -> None:
        if not self._controls.spend(self._now_s):
            raise ConnectionBroken(ErrorCode.ENHANCE_YOUR_CALM, "too many control frames")

    # -- the end -------------------------------------------------------------------------------

    def _look(self, now_s: float) -> Verdict:
        return self._liveness.look(
            now_s,
            has_settings=self._has_settings,
            calls=len(self._calls.open),
            held_bytes=self._sender.held_bytes,
            data_bytes=self._sender.data_bytes,
        )

    def _act_on(self, verdict: Verdict, now_s: float) -> None:
        match verdict:
            case Verdict.ASK:
                self._sender.control(frame(frames.PING, 0, 0, _ARE_YOU_THERE))
            case Verdict.IDLE:
                self.drain(now_s)
            case Verdict.GONE:
                self._finish(ErrorCode.NO_ERROR, "no answer")
            case Verdict.STALLED:
                self._finish(ErrorCode.ENHANCE_YOUR_CALM, "answers are not taken")
            case Verdict.FINE:
                pass

    def _refuse_new(self) -> None:
        self._drained_by_s = float("inf")
        self._streams.refused_above = self._streams.last_id
        self._sender.control(goaway(self._streams.last_id, ErrorCode.NO_ERROR))

    def _leave_if_drained(self) -> None:
        if self._is_draining and self._drained_by_s == float("inf") and not self._calls.open:
            self.is_finished = True

    def _finish(self, code: int, why: str = "") -> None:
        self.is_finished = True
        self._sender.control(goaway(self._streams.last_id, code, why))
        self._calls.cancel_all()


def _check_connection(name: str, stream_id: int) -> None:
    if stream_id:
        raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, f"{name} on stream {stream_id}")


def _check_continuation(kind: int) -> None:
    if kind != frames.CONTINUATION:
        raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "a header block is not complete")
