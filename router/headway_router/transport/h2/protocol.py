"""Moves bytes between a socket and a ``Connection``, and tells it the time."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from headway_router.transport.h2.calls import Routes
from headway_router.transport.h2.connection import Connection
from headway_router.transport.h2.limits import Limits

ALPN = "h2"
_LINGER_S = 1.0
"""For the peer to read our last words: closing with unread input in the socket would lose them."""


class H2Protocol(asyncio.Protocol):
    """``opened`` says whether the connection may stay; ``closed`` is called when it has ended."""

    def __init__(
        self,
        routes: Routes,
        limits: Limits,
        opened: Callable[["H2Protocol"], bool],
        closed: Callable[["H2Protocol"], None],
    ) -> None:
        self._routes = routes
        self._limits = limits
        self._opened = opened
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._is_paused = False
        self._is_flushing = False
        """Output that no input has caused will be written in this round of the loop."""
        self._is_leaving = False

    @property
    def open_calls(self) -> int:
        return self._connection.open_calls

    # -- called by the event loop ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's own are no subclasses
        self._transport = transport
        now_s = self._loop.time()
        self._connection = Connection(self._routes, self._limits, now_s, self._flush_soon)
        tls = transport.get_extra_info("ssl_object")
        is_h2 = not isinstance(tls, ssl.SSLObject) or tls.selected_alpn_protocol() == ALPN
        if not self._opened(self) or not is_h2:
            self._is_leaving = True
            transport.abort()
            return
        self._flush()

    def data_received(self, data: bytes) -> None:
        if not self._is_leaving:
            self._connection.receive(data, self._loop.time())
            self._flush()

    def eof_received(self) -> bool:
        """A client that has closed its half waits for nothing: close ours too."""
        return False

    def pause_writing(self) -> None:
        """The peer reads too slowly: until it catches up, nothing more is read from it either."""
        self._is_paused = True
        if self._transport is not None and not self._is_leaving:
            self._transport.pause_reading()
            self._stall = self._loop.call_later(self._limits.stall_s, self._transport.abort)

    def resume_writing(self) -> None:
        self._is_paused = False
        if self._stall is not None:
            self._stall.cancel()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._stall):
            if timer is not None:
                timer.cancel()
        self._timer = self._stall = None
        self._connection.lost()
        self._transport = None
        self._closed(self)

    # -- called by the server --------------------------------------------------------------------

    def drain(self) -> None:
        self._connection.drain(self._loop.time())
        self._flush()

    def cut_off(self) -> None:
        self._connection.cut_off()
        self._flush()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # --------------------------------------------------------------------------------------------

    def _flush_soon(self) -> None:
        """Answers to several held requests, released in one step, leave in one write."""
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        connection, transport = self._connection, self._transport
        if transport is None or self._is_leaving:
            return
        if connection.has_output and not self._is_paused:
            transport.write(connection.take())
        if connection.is_finished:
            self._leave(transport)
        else:
            self._set_timer()

    def _leave(self, transport: asyncio.Transport) -> None:
        if self._is_paused:
            transport.abort()
            return
        self._is_leaving = True
        if self._timer is not None:
            self._timer.cancel()
        if transport.can_write_eof():
            with suppress(OSError):  # The peer may have reset the connection already.
                transport.write_eof()
        self._timer = self._loop.call_later(_LINGER_S, transport.close)

    def _set_timer(self) -> None:
        due_s = self._connection.next_tick_s
        timer = self._timer
        if timer is not None:
            if timer.when() <= due_s:
                return
            timer.cancel()
        self._timer = self._loop.call_at(due_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._connection.tick(self._loop.time())
        self._flush()
