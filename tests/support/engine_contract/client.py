"""What a client of an engine sees: answers, server-sent events, scrapes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

import aiohttp

from engine_contract.metrics_text import Exposition, parse

ANSWER_LIMIT_S = 240.0
"""Ends a test that would wait for ever; no answer takes as long."""

POLL_S = 0.02

DONE = "[DONE]"
"""The last event of every stream; it is no JSON."""

Prompt = str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]]
"""A text, token ids, or a list of either."""

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Stream:
    """An open answer of server-sent events; iterates over JSON values and `DONE`.

    Raises: ValueError: at anything but ``data:`` events.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> Any:
        event = await self._response.content.readuntil(b"\n\n")
        if not event:
            raise StopAsyncIteration
        if not (event.startswith(b"data: ") and event.endswith(b"\n\n")):
            raise ValueError(f"not a data event: {event!r}")
        text = event.removeprefix(b"data: ").decode().removesuffix("\n\n")
        return text if text == DONE else json.loads(text)

    def close(self) -> None:
        """Drops the connection, as a client does that has gone away."""
        self._response.close()

    async def raw(self) -> bytes:
        return await self._response.read()

    async def rest(self) -> list[Any]:
        return [event async for event in self]


class Client:
    """Talks to one engine; requests name the base model unless they say otherwise."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self._http = http

    async def get(self, path: str) -> Answer:
        return await self.call("GET", path)

    async def post(
        self, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return await self.call("POST", path, json.dumps(body), headers)

    async def call(
        self,
        method: str,
        path: str,
        data: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        sent = {"content-type": "application/json"} if data is not None else {}
        async with (
            asyncio.timeout(ANSWER_LIMIT_S),
            self._http.request(
                method, self.url + path, data=data, headers=sent | dict(headers or {})
            ) as response,
        ):
            received = {name.lower(): value for name, value in response.headers.items()}
            return Answer(
                status=response.status, headers=received, text=await response.text("utf-8")
            )

    async def complete(self, prompt: Prompt, **fields: Any) -> dict[str, Any]:
        """The body of a completion that must succeed; it generates exactly ``max_tokens``."""
        answer = await self.post(COMPLETIONS, self.completion(prompt, **fields))
        assert answer.status == 200, answer.text
        body: dict[str, Any] = answer.json
        return body

    @asynccontextmanager
    async def stream(
        self, path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Stream]:
        """Closes the connection on leaving, however much of the stream was read."""
        async with asyncio.timeout(ANSWER_LIMIT_S):
            response = await self._http.post(
                self.url + path, json={**body, "stream": True}, headers=headers
            )
            with closing(Stream(response)) as stream:
                yield stream

    async def answer_once(self, path: str, holds: Callable[[Answer], bool]) -> Answer:
        """The first of many answers of which ``holds`` is true.  Raises: TimeoutError."""
        async with asyncio.timeout(ANSWER_LIMIT_S):
            while True:
                answer = await self.get(path)
                if holds(answer):
                    return answer
                await asyncio.sleep(POLL_S)

    async def metrics(self) -> Exposition:
        answer = await self.get("/metrics")
        assert answer.status == 200, answer.text
        return parse(answer.text)

    async def metrics_once(self, holds: Callable[[Exposition], bool]) -> Exposition:
        """The first scrape of which ``holds`` is true.  Raises: TimeoutError."""
        return parse((await self.answer_once("/metrics", lambda a: holds(parse(a.text)))).text)

    async def idle_metrics(self) -> Exposition:
        """A scrape with nothing running or waiting."""
        return await self.metrics_once(lambda m: in_flight(m) == (0, 0))

    async def settled(self) -> Exposition:
        """A scrape with nothing running or waiting, and nothing that is about to.

        A request whose client has just left may be in no scrape yet: it is in those that follow the
        answer to a later one.
        """
        await self.idle_metrics()
        await self.complete("a", max_tokens=1)
        return await self.idle_metrics()

    async def tokenize(self, **body: Any) -> list[int]:
        answer = await self.post("/tokenize", {"model": "tiny", **body})
        assert answer.status == 200, answer.text
        tokens: list[int] = answer.json["tokens"]
        return tokens

    @staticmethod
    def completion(prompt: Prompt, **fields: Any) -> dict[str, Any]:
        return {"model": "tiny", "prompt": prompt, "ignore_eos": True, "temperature": 0, **fields}


def in_flight(metrics: Exposition) -> tuple[int, int]:
    """Running and waiting requests of a scrape."""
    running = metrics.value("vllm:num_requests_running")
    return int(running), int(metrics.value("vllm:num_requests_waiting"))
