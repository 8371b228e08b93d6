"""Puts header blocks together from HEADERS and CONTINUATION frames, within limits."""

from headway_router.errors import ConnectionBroken
from headway_router.transport.h2.frames import (
    END_HEADERS,
    END_STREAM,
    HAS_PRIORITY,
    ErrorCode,
    unpadded,
)
from headway_router.transport.h2.limits import Limits

_PRIORITY_BYTES = 5


class HeaderFrames:
    """``stream_id`` and ``ends_stream`` tell of the block that is, or was last, put together."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parts = bytearray()
        self._continuations = 0
        self.is_open = False
        """Only CONTINUATION may come now."""
        self.stream_id = 0
        self.ends_stream = False
        self.depends_on_itself = False

    def begin(self, flags: int, stream_id: int, data: bytes, at: int, end: int) -> bytes | None:
        """Take a HEADERS frame.  None: its block is not complete.

        Raises: ConnectionBroken.
        """
        at, end = unpadded(flags, data, at, end)
        self.stream_id = stream_id
        self.ends_stream = bool(flags & END_STREAM)
        self.depends_on_itself = False
        if flags & HAS_PRIORITY:
            if end - at < _PRIORITY_BYTES:
                raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, "HEADERS without a priority")
            self.depends_on_itself = depends_on(data, at) == stream_id
            at += _PRIORITY_BYTES
        if flags & END_HEADERS:
            return data[at:end]
        self.is_open = True
        self._continuations = 0
        self._parts = bytearray(data[at:end])
        return None

    def go_on(self, flags: int, stream_id: int, data: bytes, at: int, end: int) -> bytes | None:
        """Take a CONTINUATION frame.  Raises: ConnectionBroken."""
        if not self.is_open or stream_id != self.stream_id:
            message = "CONTINUATION of no header block"
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, message)
        self._continuations += 1
        self._parts += data[at:end]
        if self._continuations > self._limits.max_continuations:
            raise ConnectionBroken(ErrorCode.ENHANCE_YOUR_CALM, "too many CONTINUATION frames")
        if len(self._parts) > self._limits.max_header_block_bytes:
            raise ConnectionBroken(ErrorCode.ENHANCE_YOUR_CALM, "a header block too long")
        if not flags & END_HEADERS:
            return None
        self.is_open = False
        block, self._parts = bytes(self._parts), bytearray()
        return block


def depends_on(data: bytes, at: int) -> int:
    """The stream that a priority names; its first bit says something else."""
    return int.from_bytes(data[at : at + 4]) & 0x7FFFFFFF
