"""How gRPC calls end: status numbers, and the header blocks of answers."""

from enum import IntEnum
from functools import lru_cache

from hpack import Encoder


class Status(IntEnum):
    """The numbers of gRPC that are used here."""

    OK = 0
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


_MAX_MESSAGE_CHARS = 512


def _block(*fields: tuple[str, str]) -> bytes:
    """A table of size zero on both sides: blocks do not depend on each other."""
    encoder = Encoder()
    encoder.header_table.maxsize = 0
    block: bytes = encoder.encode(fields, huffman=False)
    return block


_STARTS_ANSWER = ((":status", "200"), ("content-type", "application/grpc"))

ANSWER_HEADERS = _block(*_STARTS_ANSWER)
OK_TRAILERS = _block(("grpc-status", "0"))
OK_ALONE = _block(*_STARTS_ANSWER, ("grpc-status", "0"))


@lru_cache(maxsize=64)
def trailers(status: int, message: str) -> bytes:
    """After an answer has begun."""
    return _block(*_ends_call(status, message))


@lru_cache(maxsize=64)
def trailers_only(status: int, message: str) -> bytes:
    """Headers and trailers of an answer without a message."""
    return _block(*_STARTS_ANSWER, *_ends_call(status, message))


@lru_cache(maxsize=16)
def http_refusal(http_status: int) -> bytes:
    """For what is not gRPC."""
    return _block((":status", str(http_status)))


def _ends_call(status: int, message: str) -> list[tuple[str, str]]:
    fields = [("grpc-status", str(int(status)))]
    if message:
        fields.append(("grpc-message", _percent_encoded(message[:_MAX_MESSAGE_CHARS])))
    return fields


def _percent_encoded(message: str) -> str:
    """Printable ASCII but ``%`` stays (gRPC over HTTP/2, "Status-Message")."""
    return "".join(
        chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}"
        for byte in message.encode()
    )
