"""The one generator of Envoy bootstraps: for the demo, the tests and the chart.

The result is a plain dict; written as JSON it is a file that Envoy 1.40 reads.
"""

from headway_router.envoy.clusters import clusters
from headway_router.envoy.fields import CONNECTIONS, Json, extension, socket_address
from headway_router.envoy.gateway import (
    BodyMode,
    Gateway,
    GatewayPolicy,
    RouterTls,
    UpstreamPool,
    router_addresses,
)
from headway_router.envoy.listener import listener

__all__ = [
    "BodyMode",
    "Gateway",
    "GatewayPolicy",
    "RouterTls",
    "UpstreamPool",
    "bootstrap",
    "router_addresses",
]


def bootstrap(gateway: Gateway) -> Json:
    """The bootstrap of one Envoy in front of one or several pools."""
    return {
        "admin": {"address": socket_address(gateway.admin)},
        "static_resources": {"listeners": [listener(gateway)], "clusters": clusters(gateway)},
        "overload_manager": {"resource_monitors": [_connection_limit()]},
    }


def _connection_limit() -> Json:
    return extension(
        "resource_monitors.global_downstream_max_connections",
        "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=CONNECTIONS,
    )
