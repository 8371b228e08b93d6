"""Request headers that the engine reads."""

from collections.abc import Mapping


def session_of(body_session: str | None, headers: Mapping[str, str]) -> str | None:
    """The body's ``session_id`` goes before the header ``X-Session-ID``."""
    return body_session if body_session is not None else headers.get("X-Session-ID")


def priority_of(body_priority: int, headers: Mapping[str, str]) -> int:
    """An integer in ``X-Vllm-Priority`` goes before the body's; anything else is ignored."""
    try:
        return int(headers.get("X-Vllm-Priority", ""))
    except ValueError:
        return body_priority


def response_id(prefix: str, body_id: str | None, headers: Mapping[str, str], fresh: str) -> str:
    """``X-Request-Id`` goes before the body's ``request_id``; ``fresh`` is for neither."""
    return f"{prefix}-{headers.get('X-Request-Id') or body_id or fresh}"
