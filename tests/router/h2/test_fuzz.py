"""Frames of any kind, whole and broken, against a connection with the whole router behind it.

``HEADWAY_FUZZ_FRAMES`` is how many; ``make fuzz`` sends a million.
"""

import logging
import os
from collections.abc import Callable, Generator
from random import Random

import pytest

from edge import gateway
from edge.gateway import configured
from edge.harness import Edge, a_pool
from h2_peer import frames
from h2_peer.frames import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    message,
)
from headway_core.policy import FlowControl, Policy
from headway_router.extproc.messages import BodyMode
from headway_router.health import Health
from headway_router.transport.h2.calls import Route
from headway_router.transport.h2.connection import Connection
from headway_router.transport.h2.health_calls import HealthCalls
from headway_router.transport.h2.limits import Limits

FRAMES = int(os.environ.get("HEADWAY_FUZZ_FRAMES", "20000"))
FRAMES_OF_A_SEED = 2_500
LIMITS = Limits(
    max_message_bytes=200_000,
    max_streams=50,
    max_buffered_bytes=400_000,
    control_burst=200,
    reset_burst=100,
)

FIRST = [
    configured(gateway.headers(), mode, response).SerializeToString()
    for mode in BodyMode
    for response in (BodyMode.NONE, BodyMode.FULL_DUPLEX_STREAMED)
]
LATER = [
    m.SerializeToString()
    for m in (
        gateway.body(),
        gateway.body(b"{"),
        gateway.body(gateway.BODY + b" " * 40_000, end_of_stream=False),
        gateway.body(gateway.BODY + b" " * 150_000),
        gateway.trailers(),
        gateway.response_headers(),
        gateway.response_body(b"data: {}\n\n"),
        gateway.response_body(b"", end_of_stream=True),
        gateway.tap_chunk(),
    )
]


class Client:
    """Speaks HTTP/2 well enough to reach every state, and breaks a part of what it says."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._next_id = 1
        self._kinds: list[Callable[[], bytes]] = [
            *[self._opens] * 10,
            *[self._continues] * 20,
            *[self._ends] * 8,
            self._updates_window,
            self._changes_settings,
            self._pings,
            self._sends_anything,
        ]

    def frame(self) -> bytes:
        sent = self._rng.choice(self._kinds)()
        return self._broken(sent) if self._rng.random() < 0.01 else sent

    def _opens(self) -> bytes:
        rng, stream_id = self._rng, self._next_id
        self._next_id += 2
        paths = (frames.PROCESS, frames.PROCESS, frames.PROCESS, frames.WATCH, frames.CHECK, "/x")
        fields = frames.request(rng.choice(paths), x_headway_request_id=f"r{rng.randrange(20)}")
        if rng.random() < 0.1:
            fields.append(("grpc-timeout", rng.choice(("1S", "5m", "9H", "x"))))
        if rng.random() < 0.1:
            return self._in_parts(stream_id, frames.block(fields))
        opened = frames.headers(stream_id, fields)
        return opened + frames.data(stream_id, message(rng.choice(FIRST)))

    def _in_parts(self, stream_id: int, block: bytes) -> bytes:
        cut = self._rng.randrange(len(block))
        return frame(HEADERS, 0, stream_id, block[:cut]) + frame(
            CONTINUATION, END_HEADERS, stream_id, block[cut:]
        )

    def _continues(self) -> bytes:
        content = message(self._rng.choice(LATER))
        if self._rng.random() < 0.1:
            content = content[: self._rng.randrange(len(content))]
        flags = END_STREAM if self._rng.random() < 0.1 else 0
        return frames.data(self._some_id(), content, flags)

    def _ends(self) -> bytes:
        stream_id = self._some_id()
        if self._rng.random() < 0.5:
            return frames.rst_stream(stream_id, self._rng.randrange(14))
        return frames.data(stream_id, b"", END_STREAM)

    def _updates_window(self) -> bytes:
        increments = (1, 1000, 2**20, 2**20, 2**20, 2**31 - 1)
        return frames.window_update(
            self._rng.choice((0, self._some_id())), self._rng.choice(increments)
        )

    def _changes_settings(self) -> bytes:
        return frames.settings(initial_window_size=self._rng.choice((0, 1, 100, 65_535, 2**20)))

    def _pings(self) -> bytes:
        return frame(PING, self._rng.randrange(2), 0, self._rng.randbytes(8))

    def _sends_anything(self) -> bytes:
        kind = self._rng.choice((PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, 0x20, 0, 1, 9))
        content = self._rng.randbytes(self._rng.choice((0, 4, 5, 6, 8, 30)))
        return frame(kind, self._rng.randrange(256), self._some_id(), content)

    def _some_id(self) -> int:
        """Of the latest, as those are open."""
        return max(1, self._next_id - 2 * self._rng.randrange(1, 20))

    def _broken(self, sent: bytes) -> bytes:
        at = self._rng.randrange(len(sent))
        if self._rng.random() < 0.3:
            return sent[:at]
        return sent[:at] + self._rng.randbytes(1) + sent[at + 1 :]


class Server:
    """Connections, one after the other, to one router."""

    def __init__(self) -> None:
        flow = FlowControl(max_queued_requests=10, queue_timeout_s=2.0)
        self.edge = Edge(a_pool(policy=Policy(flow_control=flow)), max_body_bytes=100_000)
        self.health = Health()
        self.health.fleet_applied(self.edge.core.fleet)
        self._routes = {
            frames.PROCESS: Route(self.edge.processor.open),
            **HealthCalls(self.health).routes,
        }
        self.connections = 0
        self._connect()

    def _connect(self) -> None:
        self.connections += 1
        self.now_s = self.edge.clock.now_s
        self.connection = Connection(self._routes, LIMITS, self.now_s, lambda: None)

    def receive(self, sent: bytes) -> bool:
        """False: the connection has ended, and there is a new one."""
        self.edge.clock.now_s += 0.01
        self.connection.receive(sent, self.edge.clock.now_s)
        if self.connection.next_tick_s <= self.edge.clock.now_s:
            self.connection.tick(self.edge.clock.now_s)
        self.edge.dispatcher.tick()
        calls = self.connection._calls
        assert self.connection.open_calls <= LIMITS.max_streams
        assert calls._held_bytes == sum(len(c.reader._held) for c in calls.open.values())
        assert calls.sender.held_bytes == sum(sum(map(len, c.pending)) for c in calls.open.values())
        assert calls._held_bytes + calls.sender.held_bytes <= LIMITS.max_buffered_bytes
        for one in frames.frames(self.connection.take()):
            assert one.body_len <= 2**14
        if not self.connection.is_finished:
            return True
        self.lose()
        return False

    def lose(self) -> None:
        self.connection.lost()
        assert self.edge.is_idle
        assert not self.health._watchers
        self._connect()


def conversation(rng: Random) -> Generator[bytes, bool, None]:
    """A new client whenever its connection has ended; the caller sends whether it has."""
    while True:
        client = Client(rng)
        is_open = yield frames.hello(initial_window_size=rng.choice((0, 1000, 2**20)))
        while is_open:
            is_open = yield client.frame()


@pytest.mark.timeout(3600)
def test_no_frame_raises_and_no_lease_stays(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    placed = 0.0
    for seed in range(-(-FRAMES // FRAMES_OF_A_SEED)):
        rng = Random(seed)
        server, client = Server(), conversation(rng)
        sent = next(client)
        for _ in range(min(FRAMES, FRAMES_OF_A_SEED)):
            is_open = server.receive(sent)
            sent = client.send(is_open)
        server.lose()
        assert [r.getMessage() for r in caplog.records] == [], f"seed {seed}"
        placed += server.edge.count("headway_requests_total", pool="default/m", outcome="placed")
    assert placed > FRAMES / 100
