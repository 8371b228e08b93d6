"""Every error the router raises on purpose.

RouterError
├── InvalidSettings      a flag or a variable of the process is wrong: the user must act
├── BadCertificate       a certificate or its key cannot be used
├── CannotWrite          a file that is to be written cannot be opened
├── CannotListen         a port is taken, or the address is not this machine's
├── RequestRejected      the client's request is refused at the door, with an HTTP status
├── ProtocolViolation    the gateway sent what ext_proc does not allow
├── ConnectionBroken     a peer broke HTTP/2, or floods: its connection ends
└── CallFailed           one gRPC call cannot be served: it ends with a status
"""

from collections.abc import Sequence
from enum import StrEnum
from http import HTTPStatus


class RouterError(Exception):
    """Something that reaches the router from outside is wrong."""


class InvalidSettings(RouterError):
    """``problems``: one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class BadCertificate(RouterError):
    """The message names the file."""


class CannotWrite(RouterError):
    """The message names the flag and the file."""


class CannotListen(RouterError):
    """The message names the flag and the address."""


class RejectReason(StrEnum):
    """Why bad input is refused; a closed set, the label of a metric and the body's ``code``."""

    MALFORMED_JSON = "malformed-json"
    """Not JSON, not UTF-8, or nested deeper than the parsers go."""
    EMPTY_BODY = "empty-body"
    MISSING_FIELD = "missing-field"
    WRONG_TYPE = "wrong-type"
    BAD_HEADER = "bad-header"
    CONTENT_ENCODING = "content-encoding"
    BODY_TOO_LARGE = "body-too-large"
    TRAILERS = "trailers"
    """Request trailers in a body mode that cannot hold the body back for them."""

    @property
    def status(self) -> HTTPStatus:
        return _STATUS.get(self, HTTPStatus.BAD_REQUEST)


_STATUS = {
    RejectReason.BODY_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    RejectReason.CONTENT_ENCODING: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    RejectReason.TRAILERS: HTTPStatus.NOT_IMPLEMENTED,
}


class RequestRejected(RouterError):
    """``param`` is the field or header at fault; None: the body as a whole."""

    def __init__(self, reason: RejectReason, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.param = param


class ProtocolViolation(RouterError):
    """A message that is no ``ProcessingRequest``, or one without content."""


class ConnectionBroken(RouterError):
    """``code`` is HTTP/2's (RFC 9113, 7): the peer gets it with GOAWAY."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class CallFailed(RouterError):
    """``status`` is gRPC's number: the caller gets it with the trailers."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
