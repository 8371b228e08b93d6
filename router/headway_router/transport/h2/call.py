"""One gRPC call: what is known of its HTTP/2 stream."""

from collections import deque
from collections.abc import Callable, Sequence

from headway_router.transport import Stream
from headway_router.transport.h2.messages import MessageReader


class Call:
    __slots__ = (
        "content_left",
        "credit",
        "deliver_to",
        "end_block",
        "has_begun",
        "held_bytes",
        "is_over",
        "opened_s",
        "outlives_request",
        "peer_has_ended",
        "pending",
        "reader",
        "refusal",
        "stream",
        "stream_id",
        "unacknowledged",
    )

    stream: Stream

    def __init__(
        self,
        stream_id: int,
        now_s: float,
        reader: MessageReader,
        deliver_to: Callable[["Call", Sequence[bytes]], None],
    ) -> None:
        self.stream_id = stream_id
        self.opened_s = now_s
        self.reader = reader
        self.deliver_to = deliver_to
        self.content_left: int | None = None
        """By the request's content-length; None: it has none."""
        self.held_bytes = 0
        """Of an incomplete message, as the connection has counted them."""
        self.unacknowledged = 0
        """Bytes received that the stream's window has not got back."""
        self.outlives_request = False
        self.peer_has_ended = False
        self.has_begun = False
        """The answer's headers are sent."""
        self.is_over = False
        """Its stream is closed; what is pending is still to be sent."""
        self.refusal: bytes | None = None
        """Headers for a request that is over before it is complete."""
        self.credit = 0
        """The peer's window for this stream is its initial size and this."""
        self.pending: deque[memoryview] = deque()
        """Data that a window holds back."""
        self.end_block: bytes | None = None
        """The trailers, once they are known."""

    def deliver(self, messages: Sequence[bytes]) -> None:
        self.deliver_to(self, messages)
