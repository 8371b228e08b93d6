"""The fast transport as the router uses it: listens, drains, stops."""

import asyncio
import logging
import ssl

from headway_router.health import Health
from headway_router.transport import METHOD_NAME, SERVICE_NAME, Service
from headway_router.transport.h2.calls import Route
from headway_router.transport.h2.health_calls import HealthCalls
from headway_router.transport.h2.limits import Limits
from headway_router.transport.h2.protocol import H2Protocol

log = logging.getLogger(__name__)

PROCESS_PATH = f"/{SERVICE_NAME}/{METHOD_NAME}"
MAX_CONNECTIONS = 1024
_MESSAGE_OVERHEAD_BYTES = 2**20
"""Headers and framing around a body."""
_PARTING_S = 1.5
"""For connections that are cut off to close."""
_BUFFERED_MESSAGES = 16
"""Of the longest, incomplete on one connection at once."""


def limits_for(max_body_bytes: int) -> Limits:
    """A message may be twice the longest body, so that one too long is refused with 413."""
    message_bytes = 2 * max_body_bytes + _MESSAGE_OVERHEAD_BYTES
    return Limits(
        max_message_bytes=message_bytes, max_buffered_bytes=_BUFFERED_MESSAGES * message_bytes
    )


class H2Transport:
    """Serves ``service`` on ``host:port``, and health on the same port, as gateways ask there.

    ``tls`` must offer the protocol ``h2`` by ALPN; clients that do not agree on it are refused.
    """

    def __init__(
        self,
        service: Service,
        health: Health,
        *,
        host: str,
        port: int,
        limits: Limits,
        tls: ssl.SSLContext | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._health_calls = HealthCalls(health)
        self._routes = {PROCESS_PATH: Route(service.open), **self._health_calls.routes}
        self._limits = limits
        self._host = host
        self._tls = tls
        self._max_connections = max_connections
        self._server: asyncio.Server | None = None
        self._protocols: dict[H2Protocol, None] = {}
        self._has_none = asyncio.Event()
        self._has_none.set()
        self.port = port

    async def start(self) -> None:
        """Raises: OSError: the port is taken, or the address is not this machine's."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._protocol, self._host, self.port, ssl=self._tls, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self, grace_s: float) -> None:
        """Health watches, which have no end of their own, do not use up the grace."""
        if self._server is None:
            return
        self._server.close()
        self._health_calls.close()
        for protocol in list(self._protocols):
            protocol.drain()
        if not await self._all_closed_within(grace_s):
            if streams := sum(protocol.open_calls for protocol in self._protocols):
                log.warning("h2.streams_cut", extra={"streams": streams})
            for protocol in list(self._protocols):
                protocol.cut_off()
            await self._all_closed_within(_PARTING_S)
        for protocol in list(self._protocols):
            protocol.abort()
        await asyncio.sleep(0)

    async def _all_closed_within(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self._has_none.wait()
        except TimeoutError:
            return False
        return True

    def _protocol(self) -> H2Protocol:
        return H2Protocol(self._routes, self._limits, self._opened, self._closed)

    def _opened(self, protocol: H2Protocol) -> bool:
        if len(self._protocols) >= self._max_connections:
            log.warning("h2.connection_refused", extra={"connections": len(self._protocols)})
            return False
        self._protocols[protocol] = None
        self._has_none.clear()
        return True

    def _closed(self, protocol: H2Protocol) -> None:
        self._protocols.pop(protocol, None)
        if not self._protocols:
            self._has_none.set()
