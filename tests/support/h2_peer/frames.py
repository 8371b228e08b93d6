"""What a client sends, frame by frame, and what it reads: independent of the router's own code."""

from collections.abc import Iterator, Sequence

import hpack
from hyperframe.frame import Frame, SettingsFrame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PROCESS = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
WATCH = "/grpc.health.v1.Health/Watch"
CHECK = "/grpc.health.v1.Health/Check"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20

Fields = Sequence[tuple[str, str]]


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    head = len(payload).to_bytes(3) + bytes((kind, flags)) + stream_id.to_bytes(4)
    return head + payload


def settings(**values: int) -> bytes:
    numbers = {getattr(SettingsFrame, name.upper()): value for name, value in values.items()}
    return SettingsFrame(0, settings=numbers).serialize()


def hello(**values: int) -> bytes:
    """As a client begins, the server's settings acknowledged."""
    return PREFACE + settings(**values) + frame(SETTINGS, ACK, 0)


def block(fields: Fields) -> bytes:
    """A header block that stands alone."""
    encoder = hpack.Encoder()
    encoder.header_table.maxsize = 0
    encoded: bytes = encoder.encode(fields)
    return encoded


def request(path: str = PROCESS, **metadata: str) -> list[tuple[str, str]]:
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "r")]
    fields += [("te", "trailers"), ("content-type", "application/grpc")]
    return fields + [(name.replace("_", "-"), value) for name, value in metadata.items()]


def headers(stream_id: int, fields: Fields | None = None, flags: int = END_HEADERS) -> bytes:
    return frame(HEADERS, flags, stream_id, block(request() if fields is None else fields))


def message(content: bytes) -> bytes:
    """With gRPC's prefix."""
    return b"\0" + len(content).to_bytes(4) + content


def data(stream_id: int, content: bytes, flags: int = 0, size: int = 16_384) -> bytes:
    """In as many frames as are needed; the flags are the last one's."""
    pieces = [content[at : at + size] for at in range(0, len(content), size)] or [b""]
    sent = [frame(DATA, 0, stream_id, piece) for piece in pieces[:-1]]
    return b"".join([*sent, frame(DATA, flags, stream_id, pieces[-1])])


def rst_stream(stream_id: int, code: int = 8) -> bytes:
    return frame(RST_STREAM, 0, stream_id, code.to_bytes(4))


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, increment.to_bytes(4))


def frames(received: bytes) -> Iterator[Frame]:
    """Raises: AssertionError: a frame is cut short."""
    view = memoryview(received)
    while view:
        parsed, size = Frame.parse_frame_header(view[:9])
        assert len(view) >= 9 + size, "a frame is cut short"
        parsed.parse_body(view[9 : 9 + size])
        yield parsed
        view = view[9 + size :]
