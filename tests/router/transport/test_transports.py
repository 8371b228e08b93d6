"""Both transports, with a real grpc client in the place of the gateway."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import orjson
import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc as pb_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from edge import gateway
from edge.gateway import configured, destination, kind
from edge.harness import Edge, a_pool
from headway_core.policy import FlowControl, Policy, Pool
from headway_router.extproc.messages import BodyMode
from headway_router.health import Health
from headway_router.transport import Service, Transport
from headway_router.transport.grpc_aio import GrpcAioTransport
from headway_router.transport.h2.server import H2Transport, limits_for

TIMEOUT_S = 60.0
MAX_BODY_BYTES = 2**20
BIG_MESSAGES = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
LONG = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "words " * 20_000}]})
"""30,000 tokens: as much prefill as an engine is given at a time."""

Stub = pb_grpc.ExternalProcessorStub


class Served:
    """An edge behind a transport, and a connection to it."""

    def __init__(self, edge: Edge, health: Health, transport: Transport) -> None:
        self.edge = edge
        self.health = health
        self.transport = transport
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{transport.port}", BIG_MESSAGES)
        self.stub = Stub(self.channel)

    def call(self, request_id: str = "r") -> grpc.aio.StreamStreamCall:
        metadata = (("x-headway-request-id", request_id),)
        return self.stub.Process(metadata=metadata, timeout=TIMEOUT_S)

    async def drained(self) -> None:
        """All streams have ended on the server's side too."""
        await self.transport.stop(TIMEOUT_S)


def grpc_aio(service: Service, health: Health) -> Transport:
    return GrpcAioTransport(
        service, health, host="127.0.0.1", port=0, max_body_bytes=MAX_BODY_BYTES
    )


def h2(service: Service, health: Health) -> Transport:
    limits = limits_for(MAX_BODY_BYTES)
    return H2Transport(service, health, host="127.0.0.1", port=0, limits=limits)


Build = Callable[[Service, Health], Transport]


@pytest.fixture(params=[grpc_aio, h2], ids=lambda build: build.__name__)
def build(request: pytest.FixtureRequest) -> Build:
    chosen: Build = request.param
    return chosen


@asynccontextmanager
async def serving(pool: Pool, build: Build) -> AsyncIterator[Served]:
    clock = asyncio.get_running_loop().time
    edge = Edge(pool, max_body_bytes=MAX_BODY_BYTES, clock=clock)
    health = Health()
    health.fleet_applied(edge.core.fleet)
    transport = build(edge.processor, health)
    async with asyncio.timeout(3 * TIMEOUT_S), asyncio.TaskGroup() as group:
        timer = group.create_task(edge.dispatcher.run())
        await transport.start()
        served = Served(edge, health, transport)
        try:
            yield served
        finally:
            await served.channel.close()
            await transport.stop(0)
            timer.cancel()


@pytest.fixture
async def served(build: Build) -> AsyncIterator[Served]:
    async with serving(a_pool(), build) as value:
        yield value


@pytest.fixture
async def narrow(build: Build) -> AsyncIterator[Served]:
    """One slow endpoint, at work on a long prompt for an hour: all that come now are held."""
    flow = FlowControl(max_queued_requests=1000, queue_timeout_s=TIMEOUT_S)
    policy = Policy(flow_control=flow)
    pool = a_pool(addresses=["10.0.0.1:8000"], policy=policy, prefill_tokens_per_s=10.0)
    async with serving(pool, build) as value:
        await routed(value.call("first"), LONG)
        yield value


async def answer(call: grpc.aio.StreamStreamCall) -> pb.ProcessingResponse:
    message = await call.read()
    assert isinstance(message, pb.ProcessingResponse)
    return message


async def sent(call: grpc.aio.StreamStreamCall, body: bytes = gateway.BODY) -> None:
    """A BUFFERED request, up to its body."""
    await call.write(configured(gateway.headers(), BodyMode.BUFFERED, BodyMode.STREAMED))
    assert kind(await answer(call)) == "request_headers"
    await call.write(gateway.body(body))


async def routed(
    call: grpc.aio.StreamStreamCall, body: bytes = gateway.BODY
) -> pb.ProcessingResponse:
    await sent(call, body)
    return await answer(call)


async def ended(call: grpc.aio.StreamStreamCall) -> grpc.StatusCode:
    assert await call.read() is grpc.aio.EOF
    code: grpc.StatusCode = await call.code()
    return code


async def test_a_buffered_request_gets_its_destination(served: Served) -> None:
    call = served.call()
    assert "10.0.0.1:8000" in destination(await routed(call))
    assert served.edge.core.leases_outstanding == 1
    await call.done_writing()
    assert await ended(call) is grpc.StatusCode.OK
    await served.drained()
    assert served.edge.is_idle


async def test_a_full_duplex_request_gets_its_body_back(served: Served) -> None:
    call = served.call()
    content = gateway.BODY + b" " * 200_000
    await call.write(gateway.headers())
    for at in range(0, len(content), 64_000):
        await call.write(gateway.body(content[at : at + 64_000], end_of_stream=False))
    await call.write(gateway.body(b""))
    assert "10.0.0.1:8000" in destination(await answer(call))
    back = b""
    while len(back) < len(content):
        back += gateway.common(await answer(call)).body_mutation.streamed_response.body
    assert back == content
    await call.done_writing()
    assert await ended(call) is grpc.StatusCode.OK


async def test_a_refusal_ends_the_stream(served: Served) -> None:
    call = served.call()
    refusal = await routed(call, b"{")
    assert refusal.immediate_response.status.code == 400
    assert await ended(call) is grpc.StatusCode.OK


async def test_a_tap_is_ended_by_the_server_after_the_first_chunk(served: Served) -> None:
    request = served.call("r")
    await routed(request)
    tap = served.call("r")
    await tap.write(gateway.tap_chunk())
    assert await ended(tap) is grpc.StatusCode.OK
    assert served.edge.count("headway_first_tokens_total", outcome="matched") == 1
    assert served.edge.core.leases_outstanding == 1


async def test_a_held_request_is_answered_when_its_turn_comes(narrow: Served) -> None:
    call = narrow.call("second")
    await sent(call, LONG)
    tap = narrow.call("first")
    await tap.write(gateway.tap_chunk())
    assert destination(await answer(call)) == "10.0.0.1:8000"
    await call.done_writing()
    assert await ended(call) is grpc.StatusCode.OK


async def test_a_held_request_is_given_up_in_time(build: Build) -> None:
    flow = FlowControl(queue_timeout_s=0.3)
    policy = Policy(flow_control=flow)
    pool = a_pool(addresses=["10.0.0.1:8000"], policy=policy, prefill_tokens_per_s=10.0)
    async with serving(pool, build) as served:
        await routed(served.call("first"), LONG)
        call = served.call("second")
        refusal = await routed(call, LONG)
        assert refusal.immediate_response.status.code == 503
        reason = gateway.immediate_headers(refusal)["x-headway-dropped-reason"]
        assert reason == "queue-timeout"
        assert await ended(call) is grpc.StatusCode.OK


async def test_held_requests_do_not_block_others(narrow: Served) -> None:
    held = narrow.call("held")
    await sent(held, LONG)
    models = narrow.call("models")
    await models.write(gateway.headers("/v1/models", method="GET", end_of_stream=True))
    assert (await answer(models)).immediate_response.status.code == 200


async def test_a_gateway_that_half_closes_while_held_has_left(narrow: Served) -> None:
    call = narrow.call("second")
    await sent(call, LONG)
    await call.done_writing()
    assert await ended(call) is grpc.StatusCode.OK
    assert narrow.edge.core.held == 0
    assert narrow.edge.core.leases_outstanding == 1


async def test_a_response_passes_while_another_message_waits(narrow: Served) -> None:
    """A gateway answers by itself, such as with a timeout, and shows that too."""
    call = narrow.call("second")
    await sent(call, LONG)
    await call.write(gateway.response_headers("504"))
    assert kind(await answer(call)) == "response_headers"


CLIENTS = 200


async def _after_headers(call: grpc.aio.StreamStreamCall) -> None:
    await call.write(configured(gateway.headers(), BodyMode.BUFFERED))
    await answer(call)


async def _between_body_and_answer(call: grpc.aio.StreamStreamCall) -> None:
    await sent(call)


async def _placed(call: grpc.aio.StreamStreamCall) -> None:
    await routed(call)


async def _streaming(call: grpc.aio.StreamStreamCall) -> None:
    await routed(call)
    await call.write(gateway.response_headers())
    await answer(call)
    await call.write(gateway.response_body(b"data: {}\n\n"))
    await answer(call)
    await call.write(gateway.response_body(b"data: {}\n\n"))


PHASES = {
    "after the headers": _after_headers,
    "between the body and its answer": _between_body_and_answer,
    "when placed": _placed,
    "while the response streams": _streaming,
}


@pytest.mark.parametrize("phase", PHASES)
async def test_cancelled_clients_leave_no_lease(served: Served, phase: str) -> None:
    async def client(i: int) -> None:
        call = served.call(f"r{i}")
        await PHASES[phase](call)
        call.cancel()

    async with asyncio.TaskGroup() as group:
        for i in range(CLIENTS):
            group.create_task(client(i))
    await served.drained()
    assert served.edge.is_idle


async def test_clients_that_are_cancelled_while_held_leave_no_lease(narrow: Served) -> None:
    calls = [narrow.call(f"r{i}") for i in range(CLIENTS)]
    async with asyncio.TaskGroup() as group:
        for call in calls:
            group.create_task(sent(call, LONG))
    await all_held(narrow)
    for call in calls:
        call.cancel()
    await narrow.channel.close()
    await narrow.drained()
    assert narrow.edge.is_idle


async def all_held(served: Served) -> None:
    """The bodies were written, but the server may not have read them: ask until it has."""
    while served.edge.core.held < CLIENTS:
        probe = served.call("probe")
        await probe.write(gateway.headers("/v1/models", method="GET", end_of_stream=True))
        await answer(probe)


async def test_a_connection_that_breaks_leaves_no_lease(served: Served) -> None:
    for i in range(20):
        await routed(served.call(f"r{i}"))
    assert served.edge.core.leases_outstanding == 20
    await served.channel.close()
    await served.drained()
    assert served.edge.is_idle


@pytest.mark.parametrize("while_held", [False, True])
async def test_what_is_no_message_aborts_the_stream(narrow: Served, while_held: bool) -> None:
    method = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
    call = narrow.channel.stream_stream(method)(timeout=TIMEOUT_S)
    if while_held:
        first = configured(gateway.headers(), BodyMode.BUFFERED)
        await call.write(first.SerializeToString())
        await call.read()
        await call.write(gateway.body(LONG).SerializeToString())
    await call.write(b"\xff")
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call.read()
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert narrow.edge.core.held == 0


async def test_a_body_above_the_limit_arrives_and_is_refused(served: Served) -> None:
    call = served.call()
    refusal = await routed(call, b" " * (MAX_BODY_BYTES + 1))
    assert refusal.immediate_response.status.code == 413


SETTINGS_FRAME = bytes.fromhex("000000 04 00 00000000")
PING_FRAME = bytes.fromhex("000008 06 00 00000000") + b"01234567"
PING, GOAWAY, ACK = 6, 7, 1


async def test_frequent_pings_are_tolerated(served: Served) -> None:
    """Frame by frame, as a gateway that checks an idle connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.transport.port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS_FRAME)
    for _ in range(20):
        writer.write(PING_FRAME)
        frame, flags = -1, 0
        while frame != PING or not flags & ACK:
            frame, flags = await read_frame(reader)
            assert frame != GOAWAY
    writer.close()
    await writer.wait_closed()


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, int]:
    head = await reader.readexactly(9)
    await reader.readexactly(int.from_bytes(head[:3], "big"))
    return head[3], head[4]


async def test_health_is_on_the_same_port(served: Served) -> None:
    stub = health_pb2_grpc.HealthStub(served.channel)
    service = "envoy.service.ext_proc.v3.ExternalProcessor"
    request = health_pb2.HealthCheckRequest(service=service)
    serving_status = health_pb2.HealthCheckResponse.SERVING
    assert (await stub.Check(request, timeout=TIMEOUT_S)).status == serving_status
    served.health.drain()
    assert (await stub.Check(request, timeout=TIMEOUT_S)).status != serving_status


async def test_a_drain_lets_open_streams_finish_and_refuses_new_ones(served: Served) -> None:
    watch = health_pb2_grpc.HealthStub(served.channel).Watch(health_pb2.HealthCheckRequest())
    await watch.read()
    call = served.call()
    await routed(call)
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(served.transport.stop(TIMEOUT_S))
        await refused(served)
        assert not stopping.done()
        await call.write(gateway.response_headers())
        assert kind(await answer(call)) == "response_headers"
        await call.done_writing()
        assert await ended(call) is grpc.StatusCode.OK
        async with asyncio.timeout(TIMEOUT_S / 2):
            await stopping
    assert served.edge.is_idle


async def refused(served: Served) -> None:
    """Asks until a new call is refused, which is soon after the drain begins."""
    code = None
    while code is not grpc.StatusCode.UNAVAILABLE:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{served.transport.port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            call = stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
            code = await call.code()


async def test_streams_that_outlast_the_grace_are_cut_and_leave_no_lease(served: Served) -> None:
    await routed(served.call())
    await served.transport.stop(0.1)
    assert served.edge.is_idle


async def test_a_stream_that_waits_for_its_response_keeps_no_body(served: Served) -> None:
    content = gateway.BODY + b" " * 500_000
    tracemalloc.start()
    try:
        calls = [served.call(f"r{i}") for i in range(20)]
        for call in calls:
            await routed(call, content)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert served.edge.core.leases_outstanding == len(calls)
    assert kept < 4 * len(content)
