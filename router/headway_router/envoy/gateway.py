"""Everything that differs between two Envoy bootstraps, checked at the door."""

from dataclasses import dataclass
from enum import StrEnum

from headway_core.facts import EndpointId
from headway_router.envoy.fields import host_and_port
from headway_router.settings import PORT_STEP

BODY_LIMIT_BYTES = 32 * 1024 * 1024


class BodyMode(StrEnum):
    """How request bodies reach the router."""

    BUFFERED = "BUFFERED"
    """Half of the other's cost to the router."""
    FULL_DUPLEX_STREAMED = "FULL_DUPLEX_STREAMED"
    """For bodies above the limit; but with no router alive, requests with a body fail with 500."""


class GatewayPolicy(StrEnum):
    ROUTED = "routed"
    """The router chooses the endpoint of every request."""
    ROUND_ROBIN = "round-robin"
    """No router at all: the baseline that routing is compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamPool:
    """A pool as Envoy sees it: ``name`` as the router writes it, endpoints as it names them."""

    name: str
    endpoints: tuple[EndpointId, ...]


def router_addresses(first: str, processes: int) -> tuple[str, ...]:
    """Of ``headway router --processes N``, whose process 0 is at ``first``.

    Raises:
        ValueError: if that is not ``host:port``, or one of the ports is above 65535.
    """
    host, _, _ = first.rpartition(":")
    port = host_and_port(first)[1]
    addresses = tuple(f"{host}:{port + PORT_STEP * number}" for number in range(processes))
    host_and_port(addresses[-1])
    return addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterTls:
    """How the router's certificate is judged: not at all, as it suits one that signed itself, or as
    issued by an authority for a name.
    """

    ca_file: str = ""
    """Of the authority, where Envoy runs; needs the name."""
    server_name: str = ""
    """The DNS name that it must hold; also sent as SNI."""

    def __post_init__(self) -> None:
        if bool(self.ca_file) != bool(self.server_name):
            raise ValueError("router_tls: ca_file and server_name are given both or not at all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What an Envoy serves, and how.

    Port 0 in ``listener`` and ``admin`` lets the kernel choose; Envoy's admin page then tells.

    Raises:
        ValueError: if a value is malformed or contradicts another; the message names the field.
    """

    pools: tuple[UpstreamPool, ...]
    """None: pools that come and go.  Envoy connects to whatever address the router names, which
    therefore names one (``--single-destination``), and answers 503 while no router does."""
    routers: tuple[str, ...] = ()
    """``host:port`` of each router process (``router_addresses``); none with round-robin."""
    router_tls: RouterTls | None = None
    """None: in plain text, to routers with ``--secure-serving=false``."""
    listener: str = "127.0.0.1:0"
    admin: str = "127.0.0.1:0"
    """Loopback only: the page can stop Envoy."""
    policy: GatewayPolicy = GatewayPolicy.ROUTED
    body_mode: BodyMode = BodyMode.BUFFERED
    body_limit_bytes: int = BODY_LIMIT_BYTES
    """A buffered body above it is answered with 413; the router's own limit lies below."""
    message_timeout_s: float = 300.0
    """The longest that the router may hold a request; longer ones fail open."""
    failure_mode_allow: bool = True
    """With no router alive, a single pool is served by round robin instead of refused."""
    first_token_tap: bool = True
    router_check_s: float = 2.0
    """How often each of several routers is asked whether it is ready; it is left out when it said
    no twice."""

    def __post_init__(self) -> None:
        if len({pool.name for pool in self.pools}) < len(self.pools):
            raise ValueError("pools: two have the same name")
        if self.policy is GatewayPolicy.ROUTED and not self.routers:
            raise ValueError("routers: the policy routed needs at least one address")
        if self.policy is GatewayPolicy.ROUND_ROBIN and self.routers:
            raise ValueError("routers: the policy round-robin has none")
        if self.policy is GatewayPolicy.ROUND_ROBIN and not self.pools:
            raise ValueError("pools: round-robin needs one")
        if self.policy is GatewayPolicy.ROUND_ROBIN and len(self.pools) > 1:
            raise ValueError("pools: round-robin takes one; only a router tells several apart")
        if not 0 < self.body_limit_bytes < 2**32:
            raise ValueError(f"body_limit_bytes: {self.body_limit_bytes} is not in 1..2^32-1")
        if self.message_timeout_s <= 0:
            raise ValueError(f"message_timeout_s: {self.message_timeout_s} is not above 0")
        if self.router_check_s <= 0:
            raise ValueError(f"router_check_s: {self.router_check_s} is not above 0")
        self._check_addresses()

    def _check_addresses(self) -> None:
        endpoints = [(f"pool {p.name}", endpoint) for p in self.pools for endpoint in p.endpoints]
        routers = [("routers", router) for router in self.routers]
        listeners = [("listener", self.listener), ("admin", self.admin)]
        for field, address in [*listeners, *routers, *endpoints]:
            try:
                host_and_port(address)
            except ValueError as error:
                raise ValueError(f"{field}: {error}") from None
        host, _ = host_and_port(self.admin)
        if host not in ("127.0.0.1", "::1"):
            raise ValueError(f"admin: {host} is not a loopback address (127.0.0.1 or ::1)")
