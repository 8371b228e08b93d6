"""What can go wrong, at the start and in an answer.

EngineServerError
+-- SettingsInvalid     a flag or the model folder is wrong: the process does not start
+-- CannotListen        the address is taken or not ours
+-- Refused             an HTTP error with vLLM's body: status, type, param
    +-- Busy            503: a queue limit is reached, or the fault hook says so
    +-- EngineDead      500: the engine behind the server is gone
"""

from typing import Any


class EngineServerError(Exception):
    pass


class SettingsInvalid(EngineServerError):
    """Names the flag, what was wrong with it and what is allowed."""


class CannotListen(EngineServerError):
    pass


class Refused(EngineServerError):
    """An answer other than 200, in the shape that vLLM gives it."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.param = param

    def body(self) -> dict[str, Any]:
        error = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.status,
        }
        return {"error": error}


class Busy(Refused):
    def __init__(self) -> None:
        super().__init__(
            503,
            "Service Unavailable",
            "The engine is currently busy and cannot accept new requests. "
            "Please try again later or on a different instance.",
        )


class EngineDead(Refused):
    def __init__(self) -> None:
        super().__init__(
            500,
            "InternalServerError",
            "EngineCore encountered an issue. See stack trace (above) for the root cause.",
        )


_ABSENT = object()


def bad_request(message: str, param: str | None = None, value: object = _ABSENT) -> Refused:
    """400 by a value that is well-formed but not allowed; ``param`` is repeated in the text."""
    details = []
    if param is not None:
        details.append(f"parameter={param}")
    if value is not _ABSENT:
        details.append(f"value={value}")
    suffix = f" ({', '.join(details)})" if details else ""
    return Refused(400, "BadRequestError", message + suffix, param)


def model_not_found(name: str, served: tuple[str, ...]) -> Refused:
    aliases = ", ".join(served)
    return Refused(
        404,
        "NotFoundError",
        f"The model `{name}` does not exist. Valid aliases: {aliases}.",
        "model",
    )
