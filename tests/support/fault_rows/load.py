"""Clients of a gateway that tell apart every way in which a request can end."""

import asyncio
import io
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any

import aiohttp

from gateway_stack.stack import PATIENCE_S, Stack, eventually

CLIENTS = 24
MAX_TOKENS = 4
PREFIXES = 12
"""So many beginnings of more than a block are shared by requests."""


class Ending(StrEnum):
    ANSWERED = "answered"
    """Complete, by the pool that was asked, every token of it."""
    NO_ROUTER = "503 while no router was reachable"
    """The gateway's own, of several pools only."""
    REFUSED = "another explicit error"
    BROKEN = "broken off, and the client knows"
    CUT = "cut short in silence"
    MIXED_UP = "answered by the wrong pool"
    LOST = "never answered"


def a_body(model: str, number: int, *, stream: bool, max_tokens: int = MAX_TOKENS) -> Any:
    """Every other prompt shares more than a block with others."""
    beginning = f"What was said before in {number % PREFIXES}. " * 60 if number % 2 else ""
    body = {
        "model": model,
        "prompt": f"{beginning}{number} asks",
        "max_tokens": max_tokens,
        "ignore_eos": True,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


async def ending(stack: Stack, body: Any, data: Any = None) -> Ending:
    """Send the request and read all of its answer.  ``data``: the body as it is sent."""
    url = f"{stack.envoy.url}/v1/completions"
    headers = {"content-type": "application/json"}
    data = data or io.BytesIO(json.dumps(body).encode())
    try:
        async with (
            asyncio.timeout(PATIENCE_S),
            stack.session.post(url, data=data, headers=headers) as response,
        ):
            text = await response.read()
    except TimeoutError:
        return Ending.LOST
    except (aiohttp.ClientError, OSError):
        return Ending.BROKEN
    if response.status != 200:
        return _refusal(response.status, text)
    return judged(text, body)


def _refusal(status: int, text: bytes) -> Ending:
    """An error is explicit only if it says so in the API's own form."""
    try:
        message = json.loads(text)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return Ending.BROKEN
    is_gateways = status == 503 and message == "no router is available"
    return Ending.NO_ROUTER if is_gateways else Ending.REFUSED


def judged(text: bytes, body: Any) -> Ending:
    """What a client makes of a whole answer with status 200."""
    if body.get("stream"):
        events = [line[6:] for line in text.split(b"\n") if line.startswith(b"data: ")]
        if not events or events[-1] != b"[DONE]":
            return Ending.CUT
        chunks = [json.loads(event) for event in events[:-1]]
        if any("error" in chunk for chunk in chunks):
            return Ending.BROKEN
        last = chunks[-1]
    else:
        last = json.loads(text)
    if last["model"] != body["model"]:
        return Ending.MIXED_UP
    complete = last["usage"]["completion_tokens"] == body["max_tokens"]
    return Ending.ANSWERED if complete else Ending.CUT


class Load:
    """Requests of a few clients, one after the other each: streams and not, to each pool."""

    def __init__(self, stack: Stack, models: Sequence[str], least: int) -> None:
        self.endings: Counter[Ending] = Counter()
        self._stack = stack
        self._models = models
        self._least = least
        self._begun = 0
        self._is_over = False

    @property
    def done(self) -> int:
        return self.endings.total()

    async def more(self, count: int) -> None:
        """Until so many more have ended."""
        wanted = self.done + count

        async def have_ended() -> bool:
            return self.done >= wanted

        await eventually(have_ended, f"{count} more requests have ended", 2 * PATIENCE_S)

    def finish(self) -> None:
        """Send no more than the least."""
        self._is_over = True

    async def client(self) -> None:
        while not self._is_over or self._begun < self._least:
            number = self._begun
            self._begun += 1
            model = self._models[number % len(self._models)]
            body = a_body(model, number, stream=number % 3 == 0)
            self.endings[await ending(self._stack, body)] += 1


@asynccontextmanager
async def load(stack: Stack, models: Sequence[str], least: int) -> AsyncIterator[Load]:
    """Goes on for as long as the block, and until ``least`` requests have ended."""
    one = Load(stack, models, least)
    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(one.client())
        try:
            yield one
        finally:
            one.finish()
