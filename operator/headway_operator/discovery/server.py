"""Serves snapshots to routers and takes their reports."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc

from headway_operator.discovery.publisher import Publisher
from headway_operator.discovery.reports import Reports
from headway_operator.errors import InvalidSettings
from headway_proto.v1alpha1 import discovery_pb2 as pb
from headway_proto.v1alpha1.discovery_pb2_grpc import (
    DiscoveryServicer,
    add_DiscoveryServicer_to_server,
)
from headway_proto.v1alpha1.messages import MAX_MESSAGE_BYTES

log = logging.getLogger("headway_operator")

NO_DATA_S = 30.0
"""A stream that has nothing to be given by then is sent to another replica."""
STOP_S = 1.0

_OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    # So that routers spread over new replicas; grpc adds a jitter of 10 %.
    ("grpc.max_connection_age_ms", 30 * 60_000),
    ("grpc.max_connection_age_grace_ms", 10_000),
    ("grpc.so_reuseport", 0),
)


class Discovery(DiscoveryServicer):
    def __init__(
        self,
        publisher: Publisher,
        reports: Reports,
        reported: Callable[[], None],
        no_data_s: float = NO_DATA_S,
    ) -> None:
        self._publisher = publisher
        self._reports = reports
        self._reported = reported
        self._no_data_s = no_data_s

    async def Subscribe(  # noqa: N802
        self, request: pb.SubscribeRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.Snapshot]:
        router = request.router.id
        log.info("router.subscribed", extra={"router": router, "version": request.router.version})
        held = request.held_hash
        await context.send_initial_metadata(())  # there may be nothing to send for long
        try:
            async with asyncio.timeout(self._no_data_s):
                while self._publisher.message is None:
                    await self._publisher.news()
        except TimeoutError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "this replica has no state yet")
        while True:
            message = self._publisher.message
            if message is not None and message.content_hash != held:
                held = message.content_hash
                yield message
            else:
                await self._publisher.news()

    async def Report(  # noqa: N802
        self, request: pb.ReportRequest, context: grpc.aio.ServicerContext
    ) -> pb.ReportResponse:
        if request.ack.verdict == pb.Ack.NACK:
            extra = {"router": request.router.id, "reason": request.ack.reason}
            log.warning("router.nack", extra={**extra, "why": request.ack.message})
        self._reports.received(request)
        self._reported()
        return pb.ReportResponse()


@asynccontextmanager
async def serving_discovery(
    discovery: Discovery, host: str, port: int, tls: Path | None
) -> AsyncIterator[int]:
    """On the port that is given; 0: a free one.  Raises: InvalidSettings."""
    server = grpc.aio.server(options=_OPTIONS)
    add_DiscoveryServicer_to_server(discovery, server)  # type: ignore[no-untyped-call]  # generated
    place = f"{host}:{port}"
    try:
        if tls is None:
            bound = server.add_insecure_port(place)
        else:
            bound = server.add_secure_port(place, _Credentials(tls).server)
    except RuntimeError as error:
        raise InvalidSettings(f"--discovery-port: cannot listen on {place}: {error}") from error
    await server.start()
    try:
        yield bound
    finally:
        # kopf ends by cancelling whatever task it does not know, the server's own among them.
        with suppress(asyncio.CancelledError):
            await server.stop(STOP_S)


class _Credentials:
    """Files that are read again for each connection, so that a new certificate needs no restart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._seen = self._read()
        except OSError as error:
            raise InvalidSettings(f"--discovery-tls-dir: {error}") from error
        self.server = grpc.dynamic_ssl_server_credentials(
            self._configuration(), self._fetch, require_client_authentication=True
        )

    def _read(self) -> tuple[bytes, bytes, bytes]:
        key, certificate, ca = (
            (self._folder / name).read_bytes() for name in ("tls.key", "tls.crt", "ca.crt")
        )
        return key, certificate, ca

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        key, certificate, ca = self._seen
        return grpc.ssl_server_certificate_configuration(((key, certificate),), ca)

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """None: as before.  Called by a thread of grpc's."""
        try:
            found = self._read()
        except OSError:
            return None
        if found == self._seen:
            return None
        self._seen = found
        return self._configuration()
