"""The reference: an ext_proc server on ``grpc.aio`` that does nothing but answer.

It sends every request to one endpoint, and echoes the body where the mode wants that.  What it
costs is what gRPC costs; what a router costs beyond it is the router's own.

    python -m benchmarks.empty_server ENDPOINT [grpc-aio | grpc-aio-uvloop | h2]

It prints its port.  The reference is ``grpc-aio``: gRPC as it comes, on Python's own event loop.
With ``grpc-aio-uvloop`` it runs on the loop that the router runs on; with ``h2`` there, too, and
the same answers come through the router's own transport, for what that one costs.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence

import grpc
import uvloop
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc as services
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from headway_router.extproc.headers import DESTINATION
from headway_router.health import Health
from headway_router.transport import SERVICE_NAME, Deliver
from headway_router.transport.h2.server import H2Transport, limits_for

FULL_DUPLEX_STREAMED = 4
MAX_MESSAGE_BYTES = 64 << 20


class EmptyProcessor(services.ExternalProcessorServicer):  # type: ignore[misc]
    def __init__(self, endpoint: str) -> None:
        header = HeaderValue(key=DESTINATION, raw_value=endpoint.encode())
        self._common = pb.CommonResponse(
            header_mutation=pb.HeaderMutation(set_headers=[HeaderValueOption(header=header)])
        )

    async def Process(  # noqa: N802 - the service's own name
        self, messages: AsyncIterator[pb.ProcessingRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.ProcessingResponse]:
        is_duplex = False
        async for message in messages:
            if message.HasField("protocol_config"):
                is_duplex = message.protocol_config.request_body_mode == FULL_DUPLEX_STREAMED
            match message.WhichOneof("request"):
                case "request_headers":
                    common = self._common if is_duplex else pb.CommonResponse()
                    yield pb.ProcessingResponse(request_headers=pb.HeadersResponse(response=common))
                case "request_body" if is_duplex:
                    yield _streamed(message.request_body)
                case "request_body":
                    yield pb.ProcessingResponse(request_body=pb.BodyResponse(response=self._common))
                case _:
                    return


def _streamed(sent: pb.HttpBody) -> pb.ProcessingResponse:
    chunk = pb.StreamedBodyResponse(body=sent.body, end_of_stream=sent.end_of_stream)
    common = pb.CommonResponse(body_mutation=pb.BodyMutation(streamed_response=chunk))
    return pb.ProcessingResponse(request_body=pb.BodyResponse(response=common))


async def serve(endpoint: str) -> None:
    options = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
    server = grpc.aio.server(options=options)
    services.add_ExternalProcessorServicer_to_server(EmptyProcessor(endpoint), server)
    status = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    await status.set(SERVICE_NAME, health_pb2.HealthCheckResponse.SERVING)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


class EmptyStream:
    """The same on the router's own transport."""

    def __init__(self, common: pb.CommonResponse) -> None:
        self._common = common
        self._is_duplex = False
        self.is_over = False
        self.is_waiting = False

    def receive(self, data: bytes) -> Sequence[bytes]:
        message = pb.ProcessingRequest.FromString(data)
        if message.HasField("protocol_config"):
            self._is_duplex = message.protocol_config.request_body_mode == FULL_DUPLEX_STREAMED
        match message.WhichOneof("request"):
            case "request_headers":
                common = self._common if self._is_duplex else pb.CommonResponse()
                answer = pb.ProcessingResponse(request_headers=pb.HeadersResponse(response=common))
            case "request_body" if self._is_duplex:
                answer = _streamed(message.request_body)
            case "request_body":
                answer = pb.ProcessingResponse(request_body=pb.BodyResponse(response=self._common))
            case _:
                self.is_over = True
                return []
        return [answer.SerializeToString()]

    def close(self) -> None:
        pass


class EmptyService:
    def __init__(self, endpoint: str) -> None:
        header = HeaderValue(key=DESTINATION, raw_value=endpoint.encode())
        self._common = pb.CommonResponse(
            header_mutation=pb.HeaderMutation(set_headers=[HeaderValueOption(header=header)])
        )

    def open(self, _: Mapping[str, str], __: Deliver) -> EmptyStream:
        return EmptyStream(self._common)


async def serve_h2(endpoint: str) -> None:
    limits = limits_for(MAX_MESSAGE_BYTES)
    transport = H2Transport(
        EmptyService(endpoint), Health(), host="127.0.0.1", port=0, limits=limits
    )
    await transport.start()
    print(transport.port, flush=True)
    await asyncio.Event().wait()


def main(endpoint: str, transport: str = "grpc-aio") -> None:
    match transport:
        case "grpc-aio":
            asyncio.run(serve(endpoint))
        case "grpc-aio-uvloop":
            uvloop.run(serve(endpoint))
        case "h2":
            uvloop.run(serve_h2(endpoint))
        case _:
            raise SystemExit(f"no transport {transport!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
