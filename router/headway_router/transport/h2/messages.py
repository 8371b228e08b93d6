"""Cuts the messages of one gRPC call out of its data, however that was cut into frames."""

from headway_router.errors import CallFailed
from headway_router.transport.h2.status import Status

PREFIX_BYTES = 5
"""A flag for compression and four bytes of length precede each message."""


def prefixed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4) + message


class MessageReader:
    __slots__ = ("_held", "_max_bytes", "_needed")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held = bytearray()
        self._needed = PREFIX_BYTES
        """So many bytes have to be there before there is anything to look at."""

    @property
    def held_bytes(self) -> int:
        """Of a message that is not complete."""
        return len(self._held)

    def clear(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes, at: int, end: int) -> list[bytes]:
        """The messages that ``data[at:end]`` completes.

        Raises: CallFailed: a message is compressed or too long.
        """
        if not self._held:
            messages, at = self._cut(data, at, end)
            if at < end:
                self._held += memoryview(data)[at:end]
            return messages
        self._held += memoryview(data)[at:end]
        if len(self._held) < self._needed:
            return []
        messages, at = self._cut(self._held, 0, len(self._held))
        del self._held[:at]
        return messages

    def _cut(self, data: bytes | bytearray, at: int, end: int) -> tuple[list[bytes], int]:
        messages = []
        self._needed = PREFIX_BYTES
        while end - at >= PREFIX_BYTES:
            if data[at]:
                raise CallFailed(Status.UNIMPLEMENTED, "messages must not be compressed")
            size = int.from_bytes(data[at + 1 : at + PREFIX_BYTES])
            if size > self._max_bytes:
                message = f"a message of {size} bytes, {self._max_bytes} are allowed"
                raise CallFailed(Status.RESOURCE_EXHAUSTED, message)
            begin = at + PREFIX_BYTES
            if begin + size > end:
                self._needed = PREFIX_BYTES + size
                break
            at = begin + size
            messages.append(bytes(memoryview(data)[begin:at]))
        return messages, at
