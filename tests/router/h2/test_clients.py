"""Other people's clients, over sockets: python-hyper's h2 and grpc's, in the clear and by TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from envoy.service.ext_proc.v3.external_processor_pb2_grpc import ExternalProcessorStub
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hyperframe.frame import GoAwayFrame

from edge import gateway
from edge.certificates import Authority
from edge.gateway import destination
from edge.harness import a_pool
from h2_peer import frames
from h2_peer.clients import TIMEOUT_S, Crowd, buffered
from headway_core.policy import FlowControl, Policy
from headway_router.transport.h2.limits import Limits

Serving = Callable[..., AbstractAsyncContextManager[Any]]

LONG = gateway.BODY[:-4] + b" words" * 20_000 + gateway.BODY[-4:]
"""As much prefill as an engine is given at a time."""


async def test_the_h2_client_is_served(serving: Serving) -> None:
    async with serving() as served, served.h2_client() as client:
        await client.begin(1, *buffered())
        await client.answered(1)
        assert "10.0.0.1:8000" in destination(client.messages(1)[1])
        client.h2.end_stream(1)
        await client.ended_stream(1)
        assert client.trailers[1][b"grpc-status"] == b"0"


async def test_many_streams_of_the_h2_client_are_served_at_once(serving: Serving) -> None:
    async with serving() as served, served.h2_client() as client:
        ids = range(1, 161, 2)
        for stream_id in ids:
            await client.begin(stream_id, *buffered())
        for stream_id in ids:
            await client.answered(stream_id)
        assert served.edge.core.leases_outstanding == 80


@pytest.mark.slow
async def test_thousands_of_held_streams_are_cancelled_while_new_ones_are_answered(
    serving: Serving,
) -> None:
    """5,000 streams on four connections, cancelled in bursts by clients that leave."""
    flow = FlowControl(max_queued_requests=6000, queue_timeout_s=TIMEOUT_S * 2)
    policy = Policy(flow_control=flow)
    pool = a_pool(addresses=["10.0.0.1:8000"], policy=policy, prefill_tokens_per_s=10.0)
    models = gateway.headers("/v1/models", method="GET", end_of_stream=True)
    async with serving(pool) as served, AsyncExitStack() as stack:
        core = served.edge.core
        first = await stack.enter_async_context(served.h2_client())
        await first.begin(1, *buffered(LONG))
        await first.answered(1)
        crowds = [Crowd(*await stack.enter_async_context(served.connected())) for _ in range(4)]
        for crowd in crowds:
            await crowd.begin(1250)
        assert core.held == 5000
        for burst in range(5):
            for crowd in crowds:
                crowd.cancel(250)
            stream_id = 3 + 2 * burst
            await first.begin(stream_id, models)
            await first.ended_stream(stream_id)
            assert first.messages(stream_id)[0].immediate_response.status.code == 200
        for crowd in crowds:
            await crowd.seen()
        assert core.held == 0
        assert core.leases_outstanding == 1


# -- TLS ---------------------------------------------------------------------------------------


async def test_grpcs_client_is_served_by_tls(
    serving: Serving, server_tls: ssl.SSLContext, authority: Authority
) -> None:
    credentials = grpc.ssl_channel_credentials(authority.certificate)
    async with serving(tls=server_tls) as served:
        address = f"localhost:{served.transport.port}"
        async with grpc.aio.secure_channel(address, credentials) as channel:
            call = ExternalProcessorStub(channel).Process(timeout=TIMEOUT_S)
            first, body = buffered(gateway.BODY + b" " * 300_000)
            await call.write(first)
            await call.read()
            await call.write(body)
            assert "10.0.0.1:8000" in destination(await call.read())
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK


async def test_a_tls_client_that_does_not_agree_on_h2_is_refused(
    serving: Serving, server_tls: ssl.SSLContext, authority: Authority
) -> None:
    client_tls = ssl.create_default_context(cadata=authority.certificate.decode())
    async with serving(tls=server_tls) as served, served.connected(client_tls) as (reader, _):
        assert await all_of(reader) == b""


# -- sockets -----------------------------------------------------------------------------------


async def all_of(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server has closed."""
    received = b""
    async with asyncio.timeout(TIMEOUT_S):
        try:
            while data := await reader.read(65_536):
                received += data
        except ConnectionResetError:
            pass
    return received


async def test_connections_above_the_limit_are_closed_and_the_others_go_on(
    serving: Serving,
) -> None:
    async with serving(max_connections=1) as served, served.h2_client() as client:
        async with served.connected() as (reader, _):
            assert await all_of(reader) == b""
        await client.begin(1, *buffered())
        await client.answered(1)


async def test_a_connection_that_breaks_a_rule_is_told_why_and_the_others_go_on(
    serving: Serving,
) -> None:
    async with serving() as served, served.h2_client() as client:
        async with served.connected() as (reader, writer):
            writer.write(frames.hello() + frames.window_update(0, 0))
            *_, last = frames.frames(await all_of(reader))
        assert isinstance(last, GoAwayFrame) and last.error_code == 1
        await client.begin(1, *buffered())
        await client.answered(1)


async def test_who_says_nothing_is_closed(serving: Serving) -> None:
    limits = Limits(max_message_bytes=1000, handshake_s=0.2)
    async with serving(limits=limits) as served, served.connected() as (reader, _):
        *_, last = frames.frames(await all_of(reader))
        assert isinstance(last, GoAwayFrame)


async def test_a_deadline_is_kept_by_the_clock(serving: Serving) -> None:
    async with serving() as served, served.connected() as (reader, writer):
        writer.write(frames.hello() + frames.headers(1, frames.request(grpc_timeout="100m")))
        writer.write(frames.data(1, frames.message(buffered()[0].SerializeToString())))
        received = b""
        async with asyncio.timeout(TIMEOUT_S):
            while b"grpc-status\x014" not in received:
                received += await reader.read(65_536)


async def test_a_client_that_reads_nothing_is_not_read_either_and_does_not_hurt_others(
    serving: Serving,
) -> None:
    """Its answers fill the socket; then it is cut off, and nothing of it stays."""
    limits = Limits(max_message_bytes=2**22, stall_s=1.0)
    content = [gateway.headers(), gateway.body(gateway.BODY + b" " * 2**19)]
    sent = b"".join(frames.message(m.SerializeToString()) for m in content)
    async with (
        serving(limits=limits) as served,
        served.connected() as (reader, writer),
        served.h2_client() as client,
    ):
        reader._transport.pause_reading()
        writer.write(frames.hello(initial_window_size=2**30) + frames.window_update(0, 2**30))
        async with asyncio.TaskGroup() as group:
            flood = group.create_task(_flood(writer, sent))
            await client.begin(1, *buffered())
            await client.answered(1)
        assert flood.done()


async def _flood(writer: asyncio.StreamWriter, content: bytes) -> None:
    """Until the server has had enough."""
    try:
        for stream_id in range(1, 1001, 2):
            writer.write(frames.headers(stream_id) + frames.data(stream_id, content))
            await writer.drain()
    except (ConnectionResetError, BrokenPipeError):
        return
    raise AssertionError("the server has taken everything")


# -- health ------------------------------------------------------------------------------------


@asynccontextmanager
async def health_stub(port: int) -> AsyncIterator[health_pb2_grpc.HealthStub]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield health_pb2_grpc.HealthStub(channel)


async def test_a_watch_tells_every_change_and_ends_with_the_health(serving: Serving) -> None:
    async with serving() as served, health_stub(served.transport.port) as stub:
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        served.health.drain()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        served.health.close()
        assert await watch.read() is grpc.aio.EOF
        assert await watch.code() is grpc.StatusCode.OK
        assert not served.health._watchers


async def test_an_unknown_service_is_not_found_by_a_check_and_unknown_to_a_watch(
    serving: Serving,
) -> None:
    request = health_pb2.HealthCheckRequest(service="what")
    async with serving() as served, health_stub(served.transport.port) as stub:
        check = stub.Check(request, timeout=TIMEOUT_S)
        assert await check.code() is grpc.StatusCode.NOT_FOUND
        watch = stub.Watch(request, timeout=TIMEOUT_S)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        watch.cancel()
