"""A client of a ``Connection``, without a socket, on a clock that the test moves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import hpack
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
)

from h2_peer import frames
from headway_router.transport import Deliver
from headway_router.transport.h2.calls import Route
from headway_router.transport.h2.connection import Connection
from headway_router.transport.h2.limits import Limits

MAX_MESSAGE_BYTES = 100_000


class EchoService:
    """Answers each message with itself; ``end`` also ends the stream, ``hold`` is held."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0
        self.held: list[EchoStream] = []
        self.metadata: list[Mapping[str, str]] = []
        self.received: list[bytes] = []

    @property
    def open_streams(self) -> int:
        return self.opened - self.closed

    def open(self, metadata: Mapping[str, str], deliver: Deliver) -> "EchoStream":
        self.opened += 1
        self.metadata.append(metadata)
        return EchoStream(self, deliver)


class EchoStream:
    def __init__(self, service: EchoService, deliver: Deliver) -> None:
        self._service = service
        self.deliver = deliver
        self.is_over = False
        self.is_waiting = False
        self.is_closed = False

    def receive(self, message: bytes) -> Sequence[bytes]:
        assert not self.is_closed
        self._service.received.append(message)
        if message == b"hold":
            self.is_waiting = True
            self._service.held.append(self)
            return []
        self.is_over = message == b"end"
        return [message]

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._service.closed += 1


@dataclass(slots=True)
class Answer:
    """What has come on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    trailers: dict[str, str] = field(default_factory=dict)
    """Those of trailers-only answers are in ``headers``."""
    reset_code: int | None = None
    has_ended: bool = False

    @property
    def grpc_status(self) -> str | None:
        return self.trailers.get("grpc-status", self.headers.get("grpc-status"))

    @property
    def messages(self) -> list[bytes]:
        found, at = [], 0
        while at < len(self.body):
            size = int.from_bytes(self.body[at + 1 : at + 5])
            found.append(bytes(self.body[at + 5 : at + 5 + size]))
            at += 5 + size
        return found


class Peer:
    """``send`` and ``read`` return the frames that came back; ``answers`` has all of them."""

    def __init__(
        self,
        service: EchoService | None = None,
        *,
        routes: Mapping[str, Route] | None = None,
        greet: bool = True,
        settings: Mapping[str, int] | None = None,
        **limits: float,
    ) -> None:
        self.service = service or EchoService()
        self.now_s = 100.0
        self.news = 0
        self.answers: dict[int, Answer] = {}
        self._decoder = hpack.Decoder()
        chosen: dict[str, float] = {"max_message_bytes": MAX_MESSAGE_BYTES} | limits
        self.connection = Connection(
            routes or {frames.PROCESS: Route(self.service.open)},
            Limits(**chosen),  # type: ignore[arg-type]
            self.now_s,
            self._has_news,
        )
        self.greeting = self.read()
        if greet:
            self.send(frames.hello(**(settings or {})))

    def send(self, *parts: bytes) -> list[Frame]:
        self.connection.receive(b"".join(parts), self.now_s)
        return self.read()

    def wait(self, seconds: float) -> list[Frame]:
        """Nothing is sent for so long."""
        until_s = self.now_s + seconds
        while not self.connection.is_finished and self.connection.next_tick_s <= until_s:
            self.now_s = max(self.now_s, self.connection.next_tick_s)
            self.connection.tick(self.now_s)
        self.now_s = until_s
        return self.read()

    def read(self) -> list[Frame]:
        received = list(frames.frames(self.connection.take()))
        for one in received:
            self._note(one)
        return received

    def _has_news(self) -> None:
        self.news += 1

    def _note(self, received: Frame) -> None:
        answer = self.answers.setdefault(received.stream_id, Answer())
        match received:
            case HeadersFrame():
                fields = {str(k): str(v) for k, v in self._decoder.decode(received.data)}
                if answer.headers:
                    answer.trailers = fields
                else:
                    answer.headers = fields
            case DataFrame():
                answer.body += received.data
            case RstStreamFrame():
                answer.reset_code = received.error_code
        answer.has_ended |= "END_STREAM" in received.flags


def goaway_code(received: Sequence[Frame]) -> int | None:
    """Of the last GOAWAY."""
    codes = [one.error_code for one in received if isinstance(one, GoAwayFrame)]
    return codes[-1] if codes else None


def pings(received: Sequence[Frame]) -> list[PingFrame]:
    """Those that ask."""
    return [one for one in received if isinstance(one, PingFrame) and "ACK" not in one.flags]
