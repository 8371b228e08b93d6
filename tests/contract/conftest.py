"""The engine contract: every test here runs against the simulated engine and a real vLLM."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
import zmq.asyncio

from engine_contract import servers, vllm_cpu
from engine_contract.client import Client
from engine_contract.kv_events import EventLog
from engine_contract.process import EngineProcess
from machine_cache import Tell

FIXTURES = Path(__file__).parents[1] / "fixtures" / "vllm-0.32"

KINDS = [
    pytest.param("simulated", marks=pytest.mark.slow),
    pytest.param("real", marks=[pytest.mark.slow, pytest.mark.timeout(2400)]),
]
"""The first test of the real column may install vLLM, which the usual limit does not cover."""


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest, tell: Tell) -> servers.Kind:
    """Simulated or real.  Where no real vLLM is to be expected its tests are skipped."""
    if request.param == "simulated":
        return servers.SimulatedKind()
    try:
        return servers.RealKind(vllm_cpu.vllm_python(tell))
    except vllm_cpu.Unavailable as reason:
        tell(f"only the simulated engine is tested: {reason}")
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> servers.Folders:
    return servers.written_folders(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def plans(
    kind: servers.Kind, folders: servers.Folders, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, servers.Plan]:
    """How the two servers are started, by name; it depends on the kind for its own free ports."""
    sockets = tmp_path_factory.mktemp("kv")
    made = [servers.main_plan(folders, sockets), servers.limited_plan(folders)]
    return {plan.name: plan for plan in made}


@pytest.fixture(scope="session")
def engines(
    kind: servers.Kind,
    plans: dict[str, servers.Plan],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[servers.Engines]:
    running = servers.Engines(kind, list(plans.values()), tmp_path_factory.mktemp("logs"))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def main_server(engines: servers.Engines) -> EngineProcess:
    return engines.server("main")


@pytest.fixture
def limited_server(engines: servers.Engines) -> EngineProcess:
    return engines.server("limited")


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    # vLLM closes a connection after five idle seconds, maybe while a request is on its way.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


@pytest.fixture
async def main(main_server: EngineProcess, http: aiohttp.ClientSession) -> Client:
    """The server with everything observable switched on; nothing is in flight."""
    client = Client(main_server.url, http)
    await client.settled()
    return client


@pytest.fixture
async def limited(limited_server: EngineProcess, http: aiohttp.ClientSession) -> Client:
    """The small server that refuses a fourth request; nothing is in flight."""
    client = Client(limited_server.url, http)
    await client.settled()
    return client


@pytest.fixture
def zmq_context() -> Iterator[zmq.asyncio.Context]:
    context = zmq.asyncio.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def events(
    main: Client,
    plans: dict[str, servers.Plan],
    zmq_context: zmq.asyncio.Context,
    fresh_prompt: Callable[[int], list[int]],
) -> EventLog:
    """What the main server has published."""
    return EventLog(zmq_context, plans["main"].events.replay_endpoint, main, fresh_prompt)


@pytest.fixture
def limited_events(
    limited: Client,
    plans: dict[str, servers.Plan],
    zmq_context: zmq.asyncio.Context,
    fresh_prompt: Callable[[int], list[int]],
) -> EventLog:
    """What the limited server has published."""
    return EventLog(zmq_context, plans["limited"].events.replay_endpoint, limited, fresh_prompt)


@pytest.fixture(scope="session")
def fresh_prompt() -> Callable[[int], list[int]]:
    """Makes prompts of so many tokens that no cache has seen; special tokens do not occur."""
    rng = Random(7)

    def prompt(tokens: int) -> list[int]:
        return [rng.randrange(10, 800) for _ in range(tokens)]

    return prompt


@pytest.fixture(scope="session")
def fixture_file() -> Callable[[str], str]:
    """Reads a file of the recordings."""
    return lambda name: (FIXTURES / name).read_text()


@pytest.fixture(scope="session")
def exchanges(fixture_file: Callable[[str], str]) -> dict[str, Any]:
    """Recorded requests with their answers, by name."""
    lines = fixture_file("exchanges.jsonl").splitlines()
    return {exchange["name"]: exchange for exchange in map(json.loads, lines)}
