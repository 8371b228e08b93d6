"""Whether traffic may come here: one state, asked by both ports over ``grpc.health.v1``.

The router serves once it has a policy and at least one endpoint, until it drains.  Being alive is
another question, with one answer for as long as the process can give it: a router that restarts
because it drains, or because a pool is empty, helps nobody.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import IntEnum

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from headway_core.policy import Fleet

LIVENESS = "liveness"
READINESS_SERVICES = (
    "",
    "readiness",
    "envoy.service.ext_proc.v3.ExternalProcessor",
    "inference-extension",
)
"""What gateways and charts ask for: Envoy ``""``, Kubernetes probes and llm-d's charts the rest."""

WATCH_PERIOD_S = 30.0
"""A watcher looks again this often, changed or not, so that no wait is without an end."""


class ServingStatus(IntEnum):
    """The numbers of ``grpc.health.v1.HealthCheckResponse.ServingStatus``."""

    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3
    """To a watcher only; a check of an unknown service fails with NOT_FOUND."""


class Health:
    """The state.  Starts as not ready."""

    def __init__(self) -> None:
        self._has_endpoints = False
        self._is_draining = False
        self._is_closed = False
        self._changed = asyncio.Event()
        self._watchers: dict[Callable[[], None], None] = {}

    @property
    def is_closed(self) -> bool:
        """All watches have ended."""
        return self._is_closed

    @property
    def is_ready(self) -> bool:
        return self._has_endpoints and not self._is_draining

    @property
    def is_draining(self) -> bool:
        return self._is_draining

    def fleet_applied(self, fleet: Fleet) -> None:
        """Ready while there is a pool with an endpoint.  A pool always has a policy."""
        self._has_endpoints = any(pool.endpoints for pool in fleet.pools)
        self._wake()

    def drain(self) -> None:
        """Not ready from here on, whatever is applied later."""
        self._is_draining = True
        self._wake()

    def close(self) -> None:
        """End all watches: a server that stops waits for its open streams."""
        self._is_closed = True
        self._wake()

    def status(self, service: str) -> ServingStatus | None:
        """None: no such service."""
        if service == LIVENESS:
            return ServingStatus.SERVING
        if service not in READINESS_SERVICES:
            return None
        return ServingStatus.SERVING if self.is_ready else ServingStatus.NOT_SERVING

    async def statuses(self, service: str) -> AsyncIterator[ServingStatus]:
        """The status now and after every change, until closed; for ``Watch``."""
        last = None
        while not self._is_closed:
            changed = self._changed
            status = self.status(service) or ServingStatus.SERVICE_UNKNOWN
            if status is not last:
                yield status
                last = status
            try:
                async with asyncio.timeout(WATCH_PERIOD_S):
                    await changed.wait()
            except TimeoutError:
                continue

    def watch(self, told: Callable[[], None]) -> None:
        """Call ``told`` when a status may have changed, and when closed, until ``unwatch``."""
        self._watchers[told] = None

    def unwatch(self, told: Callable[[], None]) -> None:
        """Twice is harmless."""
        self._watchers.pop(told, None)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        for told in list(self._watchers):
            told()


@asynccontextmanager
async def serving_health(health: Health, host: str, port: int) -> AsyncIterator[int]:
    """Answer probes while in the block, on the port that is given; 0: a free one.

    Raises:
        RuntimeError: the port is taken, or the address is not this machine's.
    """
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(health), server)
    bound = server.add_insecure_port(grpc_address(host, port))
    await server.start()
    try:
        yield bound
    finally:
        health.close()
        await server.stop(0)


def grpc_address(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # untyped package
    """``grpc.health.v1.Health`` for a ``grpc.aio`` server."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def Check(  # noqa: N802  the name is the protocol's
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        status = self._health.status(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service!r}")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        async for status in self._health.statuses(request.service):
            yield health_pb2.HealthCheckResponse(status=status)
