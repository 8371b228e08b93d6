"""The reference transport: a ``grpc.aio`` server, complete and for every gateway."""

import asyncio
import logging
from collections.abc import Callable, Sequence

import grpc
from grpc_health.v1 import health_pb2_grpc

from headway_router.errors import ProtocolViolation
from headway_router.health import Health, HealthServicer, grpc_address
from headway_router.key_pair import KeyPair
from headway_router.transport import METHOD_NAME, SERVICE_NAME, Service, Stream

log = logging.getLogger(__name__)

MAX_STREAMS = 40_000
"""Of one connection: a gateway's worker has one, and a stream lasts as long as its response."""

_MESSAGE_OVERHEAD_BYTES = 2**20
"""Headers and framing around a body."""

_KEEPALIVE = (
    # Gateways ping at their own pace, also between requests; without these they get GOAWAY
    # "too_many_pings" and lose every open stream.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 0),
    ("grpc.http2.max_ping_strikes", 0),
)


class GrpcAioTransport:
    """Serves ``service`` on ``host:port``, and health on the same port, as gateways ask there.

    A message may be twice ``max_body_bytes``: a body above that limit must get here to be
    refused with 413, where a gateway would read a broken stream as a reason to fail open.

    ``key_pair`` is asked at every TLS handshake, in another thread; None: without TLS.
    """

    def __init__(
        self,
        service: Service,
        health: Health,
        *,
        host: str,
        port: int,
        max_body_bytes: int,
        key_pair: Callable[[], KeyPair] | None = None,
    ) -> None:
        self._service = service
        self._health = health
        self._address = grpc_address(host, port)
        self._max_message_bytes = 2 * max_body_bytes + _MESSAGE_OVERHEAD_BYTES
        self._key_pair = key_pair
        self._server: grpc.aio.Server | None = None
        self._streams = 0
        self.port = port

    async def start(self) -> None:
        """Raises: RuntimeError: if the port is taken."""
        server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", self._max_message_bytes),
                ("grpc.max_send_message_length", self._max_message_bytes),
                ("grpc.max_concurrent_streams", MAX_STREAMS),
                ("grpc.so_reuseport", 0),
                *_KEEPALIVE,
            )
        )
        # Without serializers, messages are bytes both ways.
        handler = grpc.stream_stream_rpc_method_handler(self._process)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE_NAME, {METHOD_NAME: handler}),)
        )
        health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(self._health), server)
        if self._key_pair is None:
            self.port = server.add_insecure_port(self._address)
        else:
            self.port = server.add_secure_port(self._address, _credentials(self._key_pair))
        await server.start()
        self._server = server

    async def stop(self, grace_s: float) -> None:
        """Health watchers, whose streams have no end of their own, do not use up the grace.

        One call stops the server: where two overlap, the one whose grace ends last cancels the
        calls of a server that the other has destroyed, which is a segmentation fault in grpc.
        """
        if self._server is None:
            return
        self._health.close()
        cut = asyncio.get_running_loop().call_later(grace_s, self._log_cut)
        try:
            await self._server.stop(grace_s)
        finally:
            cut.cancel()

    def _log_cut(self) -> None:
        if self._streams:
            log.warning("grpc.streams_cut", extra={"streams": self._streams})

    async def _process(self, _: object, context: grpc.aio.ServicerContext) -> None:
        outbox = _Outbox()
        stream = self._service.open(_metadata(context), outbox.put)
        self._streams += 1
        try:
            await _serve(stream, outbox, context)
        except ProtocolViolation as violation:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(violation))
        except Exception:
            log.exception("grpc.stream_failed")
            raise
        finally:
            # Cancellation too: this is what returns the lease of a client that went away.
            stream.close()
            self._streams -= 1


def _credentials(key_pair: Callable[[], KeyPair]) -> grpc.ServerCredentials:
    served = key_pair()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal served
        pair = key_pair()
        if pair == served:
            return None
        served = pair
        return _configuration(pair)

    return grpc.dynamic_ssl_server_credentials(_configuration(served), changed)


def _configuration(pair: KeyPair) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pair.private_key, pair.certificates)])


class _Outbox:
    """Messages that come while the stream waits for its next one."""

    def __init__(self) -> None:
        self._messages: list[bytes] = []
        self._has_news: asyncio.Event | None = None
        """Made when somebody waits for it: few streams ever do."""

    def put(self, messages: Sequence[bytes]) -> None:
        self._messages += messages
        if self._has_news is not None:
            self._has_news.set()

    async def take(self) -> Sequence[bytes]:
        """What has come since the last time, as soon as something has."""
        if self._has_news is None:
            self._has_news = asyncio.Event()
        if not self._messages:
            await self._has_news.wait()
        self._has_news.clear()
        messages, self._messages = self._messages, []
        return messages


async def _serve(stream: Stream, outbox: _Outbox, context: grpc.aio.ServicerContext) -> None:
    while not stream.is_over and await _answer_next(stream, context):
        if stream.is_waiting:
            await _serve_while_waiting(stream, outbox, context)
            return


async def _answer_next(stream: Stream, context: grpc.aio.ServicerContext) -> bool:
    """Returns: whether there was a message.  Nothing of it is kept while the next is awaited."""
    message = await context.read()
    if message is grpc.aio.EOF:
        return False
    for reply in stream.receive(message):
        await context.write(reply)
    return True


async def _serve_while_waiting(
    stream: Stream, outbox: _Outbox, context: grpc.aio.ServicerContext
) -> None:
    """Read and write at once: one task reads, this one writes, as gRPC allows one of each.

    The gateway's next message is awaited all the time, since its end is how a client's leaving is
    known.
    """
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_read(stream, outbox, context))
        while not (stream.is_over or reading.done()):
            for message in await outbox.take():
                await context.write(message)
        reading.cancel()
    if not reading.cancelled() and (violation := reading.result()):
        raise violation


async def _read(
    stream: Stream, outbox: _Outbox, context: grpc.aio.ServicerContext
) -> ProtocolViolation | None:
    """Returns when the gateway has ended the stream, or broken its rules."""
    try:
        while await _put_next(stream, outbox, context):
            pass
    except ProtocolViolation as violation:
        return violation
    finally:
        stream.close()
        outbox.put(())
    return None


async def _put_next(stream: Stream, outbox: _Outbox, context: grpc.aio.ServicerContext) -> bool:
    message = await context.read()
    if message is grpc.aio.EOF:
        return False
    outbox.put(stream.receive(message))
    return True


def _metadata(context: grpc.aio.ServicerContext) -> dict[str, str]:
    """Text only: values of names that end in ``-bin`` are bytes."""
    return {k: v for k, v in context.invocation_metadata() if isinstance(v, str)}
