"""HTTP/2's frames as bytes: the numbers of RFC 9113, building, and cutting a byte stream."""

from collections.abc import Iterator, Mapping
from enum import IntEnum
from struct import Struct

from headway_router.errors import ConnectionBroken

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES = 9
MAX_FRAME_BYTES = 2**14
"""Of a payload that we take: HTTP/2's least, so that no partial frame needs much memory."""
MAX_WINDOW = 2**31 - 1
DEFAULT_WINDOW = 65_535
MAX_STREAM_ID = 2**31 - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)

ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20


class ErrorCode(IntEnum):
    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    ENHANCE_YOUR_CALM = 0xB


class Setting(IntEnum):
    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


_HEAD = Struct(">BHBBI")
_SETTING = Struct(">HI")
_TWO_NUMBERS = Struct(">II")

Frame = tuple[int, int, int, bytes, int, int]
"""Kind, flags, stream id; the payload lies in the bytes from the one index to the other."""


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    return _HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream_id) + payload


def frame_head(size: int, kind: int, flags: int, stream_id: int) -> bytes:
    """What precedes a payload of ``size`` bytes."""
    return _HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream_id)


def settings(values: Mapping[Setting, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(k, v) for k, v in values.items()))


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, increment.to_bytes(4))


def rst_stream(stream_id: int, code: ErrorCode) -> bytes:
    return frame(RST_STREAM, 0, stream_id, code.to_bytes(4))


def goaway(last_stream_id: int, code: int, why: str = "") -> bytes:
    return frame(GOAWAY, 0, 0, _TWO_NUMBERS.pack(last_stream_id, code) + why.encode())


def read_settings(payload: bytes) -> dict[int, int]:
    """The last value of each, as a frame may repeat them.

    Raises: ConnectionBroken: for a value that RFC 9113, 6.5.2, does not allow.
    """
    if len(payload) % _SETTING.size:
        raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a broken length")
    values: dict[int, int] = {}
    for number, value in _SETTING.iter_unpack(payload):
        if number == Setting.ENABLE_PUSH and value > 1:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, f"ENABLE_PUSH is {value}")
        if number == Setting.INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
            raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR, f"INITIAL_WINDOW_SIZE is {value}")
        if number == Setting.MAX_FRAME_SIZE and not 2**14 <= value < 2**24:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, f"MAX_FRAME_SIZE is {value}")
        values[number] = value
    return values


def unpadded(flags: int, data: bytes, at: int, end: int) -> tuple[int, int]:
    """Where the content lies in the payload of DATA or HEADERS.

    Raises: ConnectionBroken: the padding is longer than the payload.
    """
    if not flags & PADDED:
        return at, end
    if at == end:
        raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, "a padded frame without a length")
    padding = data[at]
    if at + 1 + padding > end:
        raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
    return at + 1, end - padding


class Cutter:
    """Cuts what a client sends into frames, whatever the pieces in which it arrives."""

    def __init__(self) -> None:
        self._rest = b""
        self._preface_left = PREFACE

    @property
    def has_preface(self) -> bool:
        return not self._preface_left

    def cut(self, data: bytes) -> Iterator[Frame]:
        """The frames that ``data`` completes.  To be exhausted before the next call.

        Raises: ConnectionBroken: it is not HTTP/2, or a frame is longer than we take.
        """
        at = self._skip_preface(data) if self._preface_left else 0
        if self._rest:
            at = self._complete_rest(data, at)
            rest = self._rest
            if len(rest) < HEAD_BYTES or len(rest) < HEAD_BYTES + _size(rest, 0):
                return
            self._rest = b""
            yield (*_kind_flags_id(rest, 0), rest, HEAD_BYTES, len(rest))
        end = len(data)
        unpack = _HEAD.unpack_from
        while end - at >= HEAD_BYTES:
            high, low, kind, flags, stream_id = unpack(data, at)
            if high or low > MAX_FRAME_BYTES:
                raise _too_long(high << 16 | low)
            begin = at + HEAD_BYTES
            at = begin + low
            if at > end:
                at = begin - HEAD_BYTES
                break
            yield kind, flags, stream_id & MAX_STREAM_ID, data, begin, at
        if at < end:
            self._rest = data[at:]

    def _skip_preface(self, data: bytes) -> int:
        expected = self._preface_left
        size = min(len(expected), len(data))
        if data[:size] != expected[:size]:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "not the preface of HTTP/2")
        self._preface_left = expected[size:]
        return size

    def _complete_rest(self, data: bytes, at: int) -> int:
        """Add to the rest what its frame lacks, and return where the next frame begins.

        So that the copy is of one frame, not of all of ``data``.
        """
        missing = max(0, HEAD_BYTES - len(self._rest))
        self._rest += data[at : at + missing]
        at += missing
        if len(self._rest) < HEAD_BYTES:
            return at
        size = _size(self._rest, 0)
        if size > MAX_FRAME_BYTES:
            raise _too_long(size)
        missing = HEAD_BYTES + size - len(self._rest)
        self._rest += data[at : at + missing]
        return at + missing


def _size(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3])


def _kind_flags_id(data: bytes, at: int) -> tuple[int, int, int]:
    _, _, kind, flags, stream_id = _HEAD.unpack_from(data, at)
    return kind, flags, stream_id & MAX_STREAM_ID


def _too_long(size: int) -> ConnectionBroken:
    message = f"a frame of {size} bytes, {MAX_FRAME_BYTES} are allowed"
    return ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, message)
