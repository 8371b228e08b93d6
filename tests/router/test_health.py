import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from headway_core.facts import Endpoint
from headway_core.policy import Fleet, Pool
from headway_router.health import (
    LIVENESS,
    READINESS_SERVICES,
    Health,
    HealthServicer,
    ServingStatus,
)

SERVING = ServingStatus.SERVING
NOT_SERVING = ServingStatus.NOT_SERVING
FLEET = Fleet(
    pools=(Pool(name="ns/p", model="m", endpoints=(Endpoint(endpoint_id="10.0.0.1:1", name="e"),)),)
)


@asynccontextmanager
async def _client(health: Health) -> AsyncIterator[health_pb2_grpc.HealthStub]:
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(health), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield health_pb2_grpc.HealthStub(channel)
    finally:
        await server.stop(None)


async def _check(client: health_pb2_grpc.HealthStub, service: str) -> ServingStatus:
    request = health_pb2.HealthCheckRequest(service=service)
    return ServingStatus((await client.Check(request, timeout=60)).status)


def test_status_numbers_are_the_protocols() -> None:
    numbers = health_pb2.HealthCheckResponse.ServingStatus
    assert {s.name: s.value for s in ServingStatus}.items() <= dict(numbers.items()).items()


@pytest.mark.parametrize("service", READINESS_SERVICES)
async def test_serves_from_the_first_endpoint_until_the_drain(service: str) -> None:
    health = Health()
    async with _client(health) as client:
        assert await _check(client, service) is NOT_SERVING
        health.fleet_applied(Fleet(pools=(Pool(name="ns/empty", model="m"),)))
        assert await _check(client, service) is NOT_SERVING
        health.fleet_applied(FLEET)
        assert await _check(client, service) is SERVING
        health.drain()
        assert await _check(client, service) is NOT_SERVING
        health.fleet_applied(FLEET)
        assert await _check(client, service) is NOT_SERVING


async def test_is_alive_whatever_happens() -> None:
    health = Health()
    async with _client(health) as client:
        assert await _check(client, LIVENESS) is SERVING
        health.drain()
        assert await _check(client, LIVENESS) is SERVING


async def test_an_unknown_service_is_not_found() -> None:
    async with _client(Health()) as client:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await _check(client, "other")
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_hears_every_change() -> None:
    health = Health()
    async with _client(health) as client, asyncio.timeout(60):
        heard = []
        call = client.Watch(health_pb2.HealthCheckRequest(service=""))
        async for response in call:
            heard.append(ServingStatus(response.status))
            match len(heard):
                case 1:
                    health.fleet_applied(FLEET)
                case 2:
                    health.drain()
                case _:
                    call.cancel()
                    break
    assert heard == [NOT_SERVING, SERVING, NOT_SERVING]


async def test_a_watcher_of_an_unknown_service_is_told_so() -> None:
    async with _client(Health()) as client, asyncio.timeout(60):
        call = client.Watch(health_pb2.HealthCheckRequest(service="other"))
        assert ServingStatus((await call.read()).status) is ServingStatus.SERVICE_UNKNOWN
        call.cancel()
