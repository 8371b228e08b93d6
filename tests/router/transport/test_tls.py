"""Certificates that change while both transports serve."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from envoy.service.ext_proc.v3.external_processor_pb2_grpc import ExternalProcessorStub

from edge import gateway
from edge.certificates import Authority, Secret, number_of
from edge.gateway import configured, destination, kind
from edge.harness import ADDRESSES, Edge
from headway_router.certificates import Certificates
from headway_router.extproc.messages import BodyMode
from headway_router.health import Health
from headway_router.metric_labels import ReloadOutcome
from headway_router.serving import certificates_for, transport_for
from headway_router.settings import Settings
from headway_router.transport import Transport

TIMEOUT_S = 60.0
NAME = "router.example"


class Served:
    def __init__(self, secret: Secret, certificates: Certificates, transport: Transport) -> None:
        self.secret = secret
        self.certificates = certificates
        self.transport = transport


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(params=["grpc-aio", "h2"])
async def served(
    request: pytest.FixtureRequest, authority: Authority, tmp_path: Path
) -> AsyncIterator[Served]:
    edge = Edge()
    secret = Secret(tmp_path / "tls", authority.issue(NAME))
    settings = Settings(
        config=tmp_path, grpc_port=0, transport=request.param, cert_dir=secret.folder
    )
    certificates = certificates_for(settings, edge.metrics)
    assert certificates is not None
    transport = transport_for(settings, edge.processor, Health(), certificates)
    await transport.start()
    async with asyncio.timeout(4 * TIMEOUT_S):
        yield Served(secret, certificates, transport)
        await transport.stop(TIMEOUT_S)
    assert edge.is_idle


@asynccontextmanager
async def connected(served: Served, authority: Authority) -> AsyncIterator[ExternalProcessorStub]:
    """Of a client that verifies the router."""
    credentials = grpc.ssl_channel_credentials(authority.certificate)
    options = [("grpc.ssl_target_name_override", NAME), ("grpc.use_local_subchannel_pool", 1)]
    address = f"127.0.0.1:{served.transport.port}"
    async with grpc.aio.secure_channel(address, credentials, options) as channel:
        yield ExternalProcessorStub(channel)


async def begin(stub: ExternalProcessorStub) -> grpc.aio.StreamStreamCall:
    call = stub.Process(timeout=TIMEOUT_S)
    await call.write(configured(gateway.headers(), BodyMode.BUFFERED))
    assert kind(await read(call)) == "request_headers"
    return call


async def finish(call: grpc.aio.StreamStreamCall) -> None:
    await call.write(gateway.body())
    assert destination(await read(call)).split(",")[0] in ADDRESSES
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def read(call: grpc.aio.StreamStreamCall) -> pb.ProcessingResponse:
    answer = await call.read()
    assert isinstance(answer, pb.ProcessingResponse)
    return answer


async def test_a_new_certificate_is_for_new_connections_and_open_streams_go_on(
    served: Served, authority: Authority
) -> None:
    port = served.transport.port
    async with connected(served, authority) as before:
        call = await begin(before)
        for _ in range(3):
            new = authority.issue(NAME)
            assert await authority.number_served(port) != number_of(new)
            served.secret.put(new)
            assert await served.certificates.poll() is ReloadOutcome.APPLIED
            assert await authority.number_served(port) == number_of(new)
        async with connected(served, authority) as after:
            await finish(await begin(after))
        await finish(call)
        await finish(await begin(before))


async def test_a_broken_certificate_changes_nothing(served: Served, authority: Authority) -> None:
    port = served.transport.port
    number = await authority.number_served(port)
    new = authority.issue(NAME)
    async with connected(served, authority) as before:
        call = await begin(before)
        served.secret.put(replace(new, private_key=b""))
        assert await served.certificates.poll() is ReloadOutcome.REJECTED
        assert await authority.number_served(port) == number
        async with connected(served, authority) as after:
            await finish(await begin(after))
        await finish(call)


async def test_a_client_in_plain_text_is_refused_and_others_are_served(
    served: Served, authority: Authority
) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{served.transport.port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await begin(ExternalProcessorStub(channel))
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    async with connected(served, authority) as stub:
        await finish(await begin(stub))
