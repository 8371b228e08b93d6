"""HTTP in: what clients may not set, which pool a request belongs to, what happens on failure."""

from headway_router.envoy.clusters import NAMED_CLUSTER, cluster_name
from headway_router.envoy.fields import Json, extension, seconds, socket_address
from headway_router.envoy.filters import router_filters
from headway_router.envoy.gateway import Gateway
from headway_router.extproc import headers

REMOVED_HEADERS = (
    # Where a request goes is decided here, also while failing open.
    headers.DESTINATION,
    headers.POOL,
    *headers.REMOVED,
    # What the router sets for an engine.
    headers.SESSION_ID,
    headers.VLLM_PRIORITY,
    # The router's name for an exchange, hence unique: Envoy makes one and returns it.
    headers.REQUEST_ID,
)
"""Request headers that no client may set; removed before any filter runs."""

BUSY = 503
"""What engines answer when their queue is full, or their process ends."""
RETRY_AFTER_S = 5
"""What a client is told while no router answers for several pools: a restart takes that long."""


def listener(gateway: Gateway) -> Json:
    manager = extension(
        "filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="inference",
        normalize_path=True,
        always_set_request_id_in_response=True,
        # A held request and a long prefill are silent; the router's own time-out comes first.
        stream_idle_timeout=seconds(2 * gateway.message_timeout_s),
        request_headers_timeout="10s",
        early_header_mutation_extensions=[_remove_headers()],
        route_config={
            "virtual_hosts": [
                {
                    "name": "pools",
                    "domains": ["*"],
                    "routes": _routes(gateway),
                    "response_headers_to_add": [_decision()],
                }
            ]
        },
        http_filters=[*router_filters(gateway), _forward()],
    )
    return {
        "name": "inference",
        "address": socket_address(gateway.listener),
        "per_connection_buffer_limit_bytes": gateway.body_limit_bytes,
        "filter_chains": [{"filters": [manager]}],
    }


def _decision() -> Json:
    """What the router lets the client see; without that there is no such header."""
    value = f"%DYNAMIC_METADATA({headers.DESTINATION_NAMESPACE}:{headers.DECISION})%"
    return {
        "header": {"key": headers.DECISION, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def _remove_headers() -> Json:
    return extension(
        "http.early_header_mutation.header_mutation",
        "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[{"remove": header} for header in REMOVED_HEADERS],
    )


def _forward() -> Json:
    return extension(
        "filters.http.router",
        "extensions.filters.http.router.v3.Router",
        suppress_envoy_headers=True,
    )


def _routes(gateway: Gateway) -> list[Json]:
    """One route per pool, by the header that the router sets, and a default.

    The default is what requests meet when no router has answered: the pool if there is only one,
    else a 503, because a wrong pool is worse than none.
    """
    if not gateway.pools:
        named = {"name": headers.DESTINATION, "present_match": True}
        to_it = {"match": {"prefix": "/", "headers": [named]}, "route": _route_to(NAMED_CLUSTER)}
        return [to_it, _no_router()]
    if len(gateway.pools) == 1:
        return [{"match": {"prefix": "/"}, "route": _route_to(cluster_name(gateway.pools[0]))}]
    by_header = [
        {
            "match": {
                "prefix": "/",
                "headers": [{"name": headers.POOL, "string_match": {"exact": pool.name}}],
            },
            "route": _route_to(cluster_name(pool)),
        }
        for pool in gateway.pools
    ]
    return [*by_header, _no_router()]


def _route_to(cluster: str) -> Json:
    """No limit on a response's length; one retry, only while there is no response header, or where
    that says that the engine has not begun: its queue is full, or it ends.

    The retry goes to the second address of the router's answer, else to another endpoint.
    """
    return {
        "cluster": cluster,
        "timeout": "0s",
        "retry_policy": {
            "retry_on": "connect-failure,reset,retriable-status-codes",
            "retriable_status_codes": [BUSY],
            "num_retries": 1,
            "retry_host_predicate": [
                extension(
                    "retry_host_predicates.previous_hosts",
                    "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
                )
            ],
            "host_selection_retry_max_attempts": 5,
        },
    }


def _no_router() -> Json:
    body = '{"error":{"message":"no router is available","type":"Service Unavailable","code":503}}'
    added = {"retry-after": str(RETRY_AFTER_S), "content-type": "application/json"}
    return {
        "match": {"prefix": "/"},
        "direct_response": {"status": 503, "body": {"inline_string": body}},
        "response_headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in added.items()
        ],
    }
