"""Server-sent events of one answer, and what they say when the engine dies."""

import json
from contextlib import suppress

from aiohttp import web

from headway_engine.errors import Refused
from headway_engine.faults import Faults

DONE = b"data: [DONE]\n\n"


def event(payload: bytes) -> bytes:
    return b"data: " + payload + b"\n\n"


def named_event(name: str, payload: bytes) -> bytes:
    """Of the APIs that name their events."""
    return b"event: " + name.encode() + b"\ndata: " + payload + b"\n\n"


def error_event(error: Refused) -> bytes:
    """Unlike all others it has spaces after its separators; status 200 went out long before."""
    return event(json.dumps(error.body()).encode())


class EventStream:
    def __init__(self, response: web.StreamResponse, faults: Faults) -> None:
        self._response = response
        self._faults = faults

    @classmethod
    async def open(cls, request: web.Request, faults: Faults) -> "EventStream":
        """Status and headers go out at once, before the first token is there."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        return cls(response, faults)

    async def send(self, events: bytes) -> None:
        """Waits for a slow consumer: the tokens that come meanwhile share one chunk."""
        await self._faults.slow_down()
        # A client that has just left: the server cancels this answer in a moment.
        with suppress(ConnectionResetError):
            await self._response.write(events)

    async def close(self) -> web.StreamResponse:
        with suppress(ConnectionResetError):
            await self._response.write_eof()
        return self._response
