"""The one generator of Envoy bootstraps: for the demo, the tests and the chart.

The result is a plain dict; written as JSON it is a file that Envoy 1.40 reads.
"""

from headway_router.envoy.clusters import clusters
from headway_router.envoy.fields import Json, socket_address
from headway_router.envoy.gateway import BodyMode, Gateway, GatewayPolicy, UpstreamPool
from headway_router.envoy.listener import listener

__all__ = ["BodyMode", "Gateway", "GatewayPolicy", "UpstreamPool", "bootstrap"]


def bootstrap(gateway: Gateway) -> Json:
    """The bootstrap of one Envoy in front of one or several pools."""
    return {
        "admin": {"address": socket_address(gateway.admin)},
        "static_resources": {"listeners": [listener(gateway)], "clusters": clusters(gateway)},
    }
