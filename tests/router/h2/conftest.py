"""The fast transport on a socket, with the whole router behind it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest

from edge.certificates import Authority
from edge.harness import Edge
from h2_peer.clients import TIMEOUT_S, H2Client
from headway_core.policy import Pool
from headway_router.health import Health
from headway_router.key_pair import server_context
from headway_router.transport.h2.limits import Limits
from headway_router.transport.h2.server import H2Transport, limits_for


@dataclass(frozen=True, slots=True)
class Served:
    edge: Edge
    health: Health
    transport: H2Transport

    @asynccontextmanager
    async def connected(
        self, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.transport.port, ssl=tls)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)

    @asynccontextmanager
    async def h2_client(self) -> AsyncIterator[H2Client]:
        async with self.connected() as (reader, writer):
            client = H2Client(reader, writer)
            await client.until(lambda: client.has_settings)
            yield client


Serving = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def serving() -> Serving:
    """``async with serving(...) as served``; no lease is left behind it."""
    return _serving


@asynccontextmanager
async def _serving(
    *pools: Pool,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    max_connections: int = 100,
) -> AsyncIterator[Served]:
    edge = Edge(*pools, clock=asyncio.get_running_loop().time)
    health = Health()
    health.fleet_applied(edge.core.fleet)
    transport = H2Transport(
        edge.processor,
        health,
        host="127.0.0.1",
        port=0,
        limits=limits or limits_for(2**20),
        tls=tls,
        max_connections=max_connections,
    )
    async with asyncio.timeout(4 * TIMEOUT_S), asyncio.TaskGroup() as group:
        timer = group.create_task(edge.dispatcher.run())
        await transport.start()
        try:
            yield Served(edge, health, transport)
        finally:
            await transport.stop(0)
            timer.cancel()
    assert edge.is_idle


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def server_tls(authority: Authority) -> ssl.SSLContext:
    context = server_context()
    authority.issue("localhost").load_into(context)
    return context
