"""Where Envoy connects to: one cluster per pool, and one that holds every router process."""

from headway_router.envoy.fields import (
    Json,
    circuit_breakers,
    extension,
    http_options,
    members,
    seconds,
)
from headway_router.envoy.filters import ROUTER_CLUSTER
from headway_router.envoy.gateway import Gateway, GatewayPolicy, RouterTls, UpstreamPool
from headway_router.extproc.headers import DESTINATION, REQUEST_ID_METADATA

ENGINE_IDLE_TIMEOUT_S = 4
"""vLLM closes idle connections after 5 s; reusing one that is being closed resets the request."""
CONNECT_TIMEOUT_S = 2

NAMED_CLUSTER = "named-by-the-router"

_POLICIES = "extensions.load_balancing_policies"


def clusters(gateway: Gateway) -> list[Json]:
    pools = [_pool_cluster(gateway.policy, pool) for pool in gateway.pools] or [_named_cluster()]
    return [*pools, _router_cluster(gateway)] if gateway.routers else pools


def cluster_name(pool: UpstreamPool) -> str:
    return f"pool:{pool.name}"


def _pool_cluster(policy: GatewayPolicy, pool: UpstreamPool) -> Json:
    """The endpoints of a pool; the destination header names members, first and second choice.

    An address that is no member falls back to round robin, as does a request without the header.
    """
    lb_policy = _round_robin()
    if policy is GatewayPolicy.ROUTED:
        lb_policy = {
            "typed_extension_config": extension(
                "load_balancing_policies.override_host",
                f"{_POLICIES}.override_host.v3.OverrideHost",
                override_host_sources=[{"header": DESTINATION}],
                fallback_policy={"policies": [_round_robin()]},
            )
        }
    return {
        **members(cluster_name(pool), pool.endpoints),
        "load_balancing_policy": {"policies": [lb_policy]},
        **_engine_connections(),
    }


def _named_cluster() -> Json:
    """Whatever address the destination header holds: no member is configured or looked up."""
    return {
        "name": NAMED_CLUSTER,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "original_dst_lb_config": {"use_http_header": True, "http_header_name": DESTINATION},
        **_engine_connections(),
    }


def _engine_connections() -> Json:
    return {
        "connect_timeout": seconds(CONNECT_TIMEOUT_S),
        "circuit_breakers": circuit_breakers(),
        "typed_extension_protocol_options": http_options(
            explicit_http_config={"http_protocol_options": {}},
            common_http_protocol_options={"idle_timeout": seconds(ENGINE_IDLE_TIMEOUT_S)},
        ),
    }


def _round_robin() -> Json:
    config = extension(
        "load_balancing_policies.round_robin", f"{_POLICIES}.round_robin.v3.RoundRobin"
    )
    return {"typed_extension_config": config}


def _router_cluster(gateway: Gateway) -> Json:
    """Every router process is one host, chosen by request id.

    No panic routing: failing open is better than asking a router that is not ready.
    """
    cluster = {
        **members(ROUTER_CLUSTER, gateway.routers),
        "connect_timeout": seconds(CONNECT_TIMEOUT_S),
        "lb_policy": "MAGLEV",
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": circuit_breakers(),
        "typed_extension_protocol_options": http_options(
            explicit_http_config={"http2_protocol_options": {}},
            hash_policy=[{"header": {"header_name": REQUEST_ID_METADATA}}],
        ),
    }
    if gateway.router_tls is not None:
        cluster["transport_socket"] = _tls(gateway.router_tls)
    if len(gateway.routers) > 1 or cluster["type"] == "STRICT_DNS":
        cluster["health_checks"] = [_health_check(gateway.router_check_s)]
    return cluster


def _tls(tls: RouterTls) -> Json:
    common: Json = {"alpn_protocols": ["h2"]}
    own: Json = {"common_tls_context": common}
    if tls.ca_file:
        own["sni"] = tls.server_name
        common["validation_context"] = {
            "trusted_ca": {"filename": tls.ca_file},
            "match_typed_subject_alt_names": [
                {"san_type": "DNS", "matcher": {"exact": tls.server_name}}
            ],
        }
    return extension(
        "transport_sockets.tls", "extensions.transport_sockets.tls.v3.UpstreamTlsContext", **own
    )


def _health_check(interval_s: float) -> Json:
    """With several routers a dead one is left out, instead of failing open for its share."""
    return {
        "timeout": "2s",
        "interval": seconds(interval_s),
        "no_traffic_interval": seconds(interval_s),
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "grpc_health_check": {"service_name": "envoy.service.ext_proc.v3.ExternalProcessor"},
    }
