"""The headers of a request: valid as HTTP/2 wants, and what they ask of gRPC."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headway_router.transport.h2.header_blocks import Field

_NEEDED = frozenset((b":method", b":scheme", b":path"))
_PSEUDO = _NEEDED | {b":authority"}
_OF_CONNECTIONS = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
"""HTTP/1's, which HTTP/2 forbids (RFC 9113, 8.2.2)."""
_UPPER_CASE = re.compile(rb"[A-Z]")
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


class MalformedHead(Exception):
    """The stream is to be reset with PROTOCOL_ERROR (RFC 9113, 8.1.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    path: str
    metadata: Mapping[str, str]
    """Text only: values of names that end in ``-bin`` are bytes, and left out."""
    http_status: int = 200
    """Else what a caller gets that does not speak gRPC."""
    timeout_s: float | None = None
    """Which the caller waits for the call to end; None: for ever."""
    content_length: int | None = None

    def with_metadata(self, name: str, value: str) -> "RequestHead":
        """The same, with that value for one name."""
        return RequestHead(
            path=self.path,
            metadata={**self.metadata, name: value},
            http_status=self.http_status,
            timeout_s=self.timeout_s,
            content_length=self.content_length,
        )


def read_head(fields: Sequence[Field]) -> RequestHead:
    """Raises: MalformedHead."""
    pseudo: dict[bytes, bytes] = {}
    plain: dict[bytes, bytes] = {}
    for name, value in fields:
        if name[:1] == b":":
            if plain or name in pseudo or name not in _PSEUDO:
                raise MalformedHead
            pseudo[name] = value
        else:
            _check(name, value)
            plain[name] = plain[name] + b"," + value if name in plain else value
    if not pseudo.keys() >= _NEEDED or not pseudo[b":path"]:
        raise MalformedHead
    return RequestHead(
        path=_text(pseudo[b":path"]),
        metadata={_text(k): _text(v) for k, v in plain.items() if k[-4:] != b"-bin"},
        http_status=_http_status(pseudo[b":method"], plain.get(b"content-type", b"")),
        timeout_s=_timeout_s(plain.get(b"grpc-timeout")),
        content_length=_length(plain.get(b"content-length")),
    )


def check_trailers(fields: Sequence[Field]) -> None:
    """Raises: MalformedHead."""
    for name, value in fields:
        if name[:1] == b":":
            raise MalformedHead
        _check(name, value)


def _check(name: bytes, value: bytes) -> None:
    if not name or _UPPER_CASE.search(name) or name in _OF_CONNECTIONS:
        raise MalformedHead
    if name == b"te" and value != b"trailers":
        raise MalformedHead


def _http_status(method: bytes, content_type: bytes) -> int:
    if method != b"POST":
        return 405
    return 200 if content_type.startswith(b"application/grpc") else 415


def _timeout_s(value: bytes | None) -> float | None:
    """Raises: MalformedHead: a deadline that is not understood must not be none at all."""
    if value is None:
        return None
    found = _TIMEOUT.fullmatch(value)
    if found is None:
        raise MalformedHead
    return int(found[1]) * _SECONDS[found[2]]


def _length(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not value.isdigit():
        raise MalformedHead
    return int(value)


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
