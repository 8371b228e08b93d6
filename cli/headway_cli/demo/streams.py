"""Reads a streamed completion: when its first text came, and what it reports at its end."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

_DATA = b"data: "
_DONE = b"data: [DONE]"
_TAIL_BYTES = 4096
"""The usage event and the end mark are together shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    first_text_at: float | None
    """On the clock that was given; None: no text came."""
    usage: Usage | None
    """None: the stream did not end as it should."""
    tail: str
    """The last of what came, for error messages."""


async def read_stream(response: aiohttp.ClientResponse, clock: Callable[[], float]) -> Stream:
    """Events are parsed up to the first with text and at the end.

    What lies between is only passed over: a parsed event costs as much as sending it did.
    """
    first_text_at, head, tail = None, b"", b""
    async for chunk in response.content.iter_any():
        if first_text_at is None:
            head += chunk
            first_text_at = clock() if _has_text(head) else None
        tail = (tail + chunk)[-_TAIL_BYTES:]
    return Stream(
        first_text_at=first_text_at,
        usage=_usage(tail),
        tail=tail[-200:].decode(errors="replace"),
    )


def _has_text(head: bytes) -> bool:
    """Whether a complete event carries text."""
    *events, _unfinished = head.split(b"\n\n")
    return any(
        choice.get("text") for event in events for choice in _event(event).get("choices", ())
    )


def _usage(tail: bytes) -> Usage | None:
    """The usage of a stream that ended with it and the end mark."""
    *_, last_event, done, after = [b"", b"", *tail.split(b"\n\n")]
    if done != _DONE or after:
        return None
    usage = _event(last_event).get("usage")
    if usage is None:
        return None
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        prompt_tokens=usage["prompt_tokens"],
        completion_tokens=usage["completion_tokens"],
        cached_tokens=details.get("cached_tokens") or 0,
    )


def _event(event: bytes) -> dict[str, Any]:
    if event == _DONE or not event.startswith(_DATA):
        return {}
    parsed: dict[str, Any] = orjson.loads(event[len(_DATA) :])
    return parsed
