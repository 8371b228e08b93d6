"""Servers inside the test's own process, and the model folder of the recordings."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from hypothesis import settings

from engine_contract.model_folder import write_model
from headway_engine.control import ControlRoutes
from headway_engine.server import Server
from headway_engine.settings import Flags, resolve

# Other programs share the machine: how long an example takes says nothing.
settings.register_profile("engine", deadline=None)
settings.load_profile("engine")

FIXTURES = Path(__file__).parents[1] / "fixtures" / "vllm-0.32"
LIMIT_S = 120.0
"""Ends a test that would wait for ever; no answer takes as long."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def events(self) -> list[Any]:
        """Data of server-sent events; ``[DONE]`` as a string."""
        lines = [line for line in self.text.splitlines() if line.startswith("data: ")]
        data = [line.removeprefix("data: ") for line in lines]
        return [text if text == "[DONE]" else json.loads(text) for text in data]


class Running:
    """A server on a free port, its control port, and a client of both."""

    def __init__(
        self, server: Server, url: str, control_url: str, http: aiohttp.ClientSession
    ) -> None:
        self.server = server
        self.exits: list[tuple[float, int]] = []
        """What the fault hooks asked for: seconds and exit code."""
        self.listens: list[bool] = []
        """The same: whether to listen."""
        self._url = url
        self._control_url = control_url
        self._http = http

    async def get(self, path: str) -> Reply:
        return await self._ask("GET", self._url + path)

    async def post(self, path: str, body: Any = None, headers: Any = None) -> Reply:
        return await self._ask("POST", self._url + path, json=body, headers=headers)

    async def control(self, path: str, **body: Any) -> Reply:
        return await self._ask("POST", self._control_url + path, json=body)

    @asynccontextmanager
    async def stream(self, path: str, body: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """An open stream; its connection is closed on leaving."""
        async with asyncio.timeout(LIMIT_S):
            response = await self._http.post(self._url + path, json={**body, "stream": True})
            try:
                yield response
            finally:
                response.close()

    async def value(self, series: str) -> float:
        """Of a series with its labels, as the text has it."""
        text = (await self.get("/metrics")).text
        (line,) = [x for x in text.splitlines() if x.startswith(f"{series} ")]
        return float(line.rpartition(" ")[2])

    async def until(self, series: str, wanted: float) -> None:
        async with asyncio.timeout(LIMIT_S):
            async for value in self._values(series):
                if value == wanted:
                    return

    async def _values(self, series: str) -> AsyncIterator[float]:
        """Scrapes without end, shortly after one another."""
        while True:
            yield await self.value(series)
            await asyncio.sleep(0.005)

    async def _ask(self, method: str, url: str, **arguments: Any) -> Reply:
        async with (
            asyncio.timeout(LIMIT_S),
            self._http.request(method, url, **arguments) as response,
        ):
            return Reply(response.status, response.headers, await response.text())


Launch = Callable[..., Coroutine[Any, Any, Running]]


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    """``await launch(environment={...}, **flags)`` starts a server; all end with the test."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        work: list[asyncio.Task[None]] = []
        stack.callback(lambda: [task.cancel() for task in work])

        async def start(environment: Mapping[str, str] | None = None, **flags: Any) -> Running:
            server = Server(resolve(Flags(**flags), environment or {}), Random(0))
            stack.enter_context(server.event_sockets())
            exits: list[tuple[float, int]] = []
            listens: list[bool] = []

            async def listen(on: bool) -> None:
                listens.append(on)

            control = ControlRoutes(
                server.driver,
                server.clock,
                server.faults,
                lambda s, code: exits.append((s, code)),
                listen,
            )
            urls = []
            for app in (server.app(), control.app()):
                site = TestServer(app)
                await site.start_server()
                stack.push_async_callback(site.close)
                urls.append(str(site.make_url("")).rstrip("/"))
            work.append(tasks.create_task(server.run()))
            running = Running(server, urls[0], urls[1], http)
            running.exits, running.listens = exits, listens
            return running

        yield start


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_model(folder)
    return folder


@pytest.fixture(scope="session")
def recorded_batches() -> list[dict[str, Any]]:
    """KV event batches of a real server: sequence, topic, payload in hex."""
    lines = (FIXTURES / "kv_batches.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
