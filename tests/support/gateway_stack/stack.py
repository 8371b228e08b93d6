"""Routers and an Envoy in front of engines, and a client for the whole."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from engine_contract.undisturbed import presume
from gateway_stack.engines import Engine, metric
from headway_cli.demo.gateway import Envoy
from headway_cli.demo.processes import Children
from headway_cli.demo.programs import RouterProcess, ready_router

PATIENCE_S = 120.0
"""How long something that must happen may take on loaded cores."""

ROUTER_BODY_LIMIT = 1 << 20
GATEWAY_BODY_LIMIT = 2 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    engines: Sequence[Engine]
    routers: list[RouterProcess]
    envoy: Envoy
    children: Children
    """All but the engines."""
    config: Path
    """The routers' folder."""
    session: aiohttp.ClientSession

    async def complete(
        self,
        prompt: str,
        *,
        model: str = "chat",
        max_tokens: int = 2,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        body = {"model": model, "prompt": prompt, "max_tokens": max_tokens, "ignore_eos": True}
        url = f"{self.envoy.url}/v1/completions"
        headers = {**(headers or {}), "content-type": "application/json"}
        # aiohttp warns of large bodies that are not files.
        data = io.BytesIO(json.dumps(body).encode())
        async with self.session.post(url, data=data, headers=headers) as response:
            return await _answer(response)

    async def start_router_again(self, number: int) -> None:
        """In the place of one that has ended: Envoy finds it where that was."""
        old = self.routers[number].child
        child = await self.children.start(f"{old.name}-again", old.command)
        self.routers[number] = await ready_router(child)

    async def get(self, path: str) -> Answer:
        async with self.session.get(f"{self.envoy.url}{path}") as response:
            return await _answer(response)

    @asynccontextmanager
    async def streaming(
        self, prompt: str, *, model: str = "chat", max_tokens: int
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A stream that has begun: its headers are here."""
        body: dict[str, Any] = {"model": model, "prompt": prompt, "max_tokens": max_tokens}
        body |= {"ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}}
        async with self.session.post(f"{self.envoy.url}/v1/completions", json=body) as response:
            yield response

    async def debug(self) -> list[dict[str, Any]]:
        """The debug page of each router."""
        pages = []
        for router in self.routers:
            async with self.session.get(router.debug_url) as response:
                pages.append(await response.json())
        return pages

    async def leases(self) -> int:
        return sum(page["leases_outstanding"] for page in await self.debug())

    async def held(self) -> int:
        return sum(page["held"] for page in await self.debug())

    async def metric(self, router: RouterProcess, name: str, **labels: str) -> float:
        return await metric(self.session, router.metrics_url, name, **labels)

    async def fault(self, name: str, **fields: object) -> None:
        """Switches it on in every engine."""
        for engine in self.engines:
            await engine.fault(self.session, name, **fields)

    async def in_flight(self) -> int:
        """Requests that the engines run or let wait."""
        return sum([await engine.in_flight(self.session) for engine in self.engines])

    async def is_left_out(self, router: RouterProcess) -> bool:
        """Envoy has noticed that this router is not ready."""
        async with self.session.get(f"{self.envoy.admin_url}/clusters") as response:
            page = await response.text()
        return f"routers::{router.ext_proc_address}::health_flags::/failed_active_hc" in page

    async def envoy_count(self, part: str, counter: str) -> int:
        """The sum over all of Envoy's counters of that name whose path holds ``part``."""
        url = f"{self.envoy.admin_url}/stats?filter={part}"
        async with self.session.get(url) as response:
            lines = (await response.text()).splitlines()
        found = [line.split(": ") for line in lines if f".{counter}:" in line]
        assert found
        return sum(int(value) for _, value in found)

    async def requests_by_engine(self) -> dict[str, int]:
        """How many each engine has finished."""
        return {
            engine.child.name: (await engine.counters(self.session)).requests
            for engine in self.engines
        }


async def eventually(
    holds: Callable[[], Awaitable[bool]], what: str, patience_s: float = PATIENCE_S
) -> None:
    """Asks other processes again and again, as they tell nobody when it is so."""
    deadline = time.monotonic() + patience_s
    while not await holds():
        assert time.monotonic() < deadline, f"not within {patience_s:g} s: {what}"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def open_streams(stack: Stack, count: int, about: str) -> AsyncIterator[None]:
    """Streams of which each has had its first token, until the block ends; then their clients go.

    The engines are slow meanwhile, so that none of the streams ends by itself.

    Raises: Disturbed: if one has ended all the same.
    """
    begun, all_begun, never = 0, asyncio.Event(), asyncio.Event()

    async def read_a_token_and_wait(number: int) -> None:
        nonlocal begun
        async with stack.streaming(f"{number} {about}", max_tokens=1900) as response:
            assert (await response.content.readuntil(b"\n\n")).startswith(b"data: {")
            begun += 1
            if begun == count:
                all_begun.set()
            await never.wait()

    await stack.fault("straggle", factor=20)
    try:
        async with asyncio.TaskGroup() as tasks:
            clients = [tasks.create_task(read_a_token_and_wait(n)) for n in range(count)]
            async with asyncio.timeout(2 * PATIENCE_S):
                await all_begun.wait()
            presume(await stack.in_flight() == count, "a stream has ended")
            yield
            for client in clients:
                client.cancel()
    finally:
        await stack.fault("heal")


@asynccontextmanager
async def load(stack: Stack) -> AsyncIterator[list[int]]:
    """Requests one after the other from a few clients; the statuses so far."""
    statuses: list[int] = []
    stopped = asyncio.Event()

    async def client(number: int) -> None:
        count = 0
        while not stopped.is_set():
            count += 1
            statuses.append((await stack.complete(f"{number} {count}")).status)

    async with asyncio.TaskGroup() as tasks:
        for number in range(4):
            tasks.create_task(client(number))
        try:
            yield statuses
        finally:
            stopped.set()


async def leases_returned(stack: Stack) -> None:
    async def none_left() -> bool:
        return await stack.leases() == 0

    await eventually(none_left, "all leases are returned")


async def engines_are_idle(stack: Stack) -> None:
    async def nothing_runs() -> bool:
        return await stack.in_flight() == 0

    await eventually(nothing_runs, "the engines are idle")


async def _answer(response: aiohttp.ClientResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status=response.status, headers=headers, body=await response.read())
