"""The few forms of Envoy's configuration language that everything else is made of."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

Json = dict[str, Any]

CONNECTIONS = 40_000
"""At most, of clients and to each cluster: streams live for minutes, so Envoy's default of 1,024 to
a cluster overflows."""


def typed(type_name: str, **fields: object) -> Json:
    """A message in an ``Any``; the type's common prefix is left out."""
    return {"@type": f"type.googleapis.com/envoy.{type_name}", **fields}


def extension(name: str, type_name: str, **fields: object) -> Json:
    return {"name": f"envoy.{name}", "typed_config": typed(type_name, **fields)}


def seconds(duration_s: float) -> str:
    return f"{duration_s:g}s"


def host_and_port(address: str) -> tuple[str, int]:
    """Splits ``host:port`` or ``[ipv6]:port``.

    Raises:
        ValueError: if it is neither.
    """
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and int(port) < 65536):
        raise ValueError(f"{address!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def socket_address(address: str) -> Json:
    host, port = host_and_port(address)
    return {"socket_address": {"address": host, "port_value": port}}


def members(cluster_name: str, addresses: Sequence[str]) -> Json:
    """A cluster of these hosts.  One with a name instead of an IP address uses DNS."""
    hosts = [{"endpoint": {"address": socket_address(address)}} for address in addresses]
    static = all(is_ip(host_and_port(address)[0]) for address in addresses)
    return {
        "name": cluster_name,
        "type": "STATIC" if static else "STRICT_DNS",
        "load_assignment": {
            "cluster_name": cluster_name,
            "endpoints": [{"lb_endpoints": hosts}],
        },
    }


def circuit_breakers() -> Json:
    """Retries are limited too: when an engine dies, all of its requests are retried at once."""
    limits = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {"thresholds": [dict.fromkeys(limits, CONNECTIONS)]}


def http_options(**fields: object) -> Json:
    name = "extensions.upstreams.http.v3.HttpProtocolOptions"
    return {f"envoy.{name}": typed(name, **fields)}
