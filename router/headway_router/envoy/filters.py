"""The two filters that talk to the router: one routes, the other tells of first tokens.

`docs/design.md` has the measurements behind the settings.
"""

from headway_router.envoy.fields import Json, seconds, typed
from headway_router.envoy.gateway import BodyMode, Gateway
from headway_router.extproc.headers import REQUEST_ID_METADATA

ROUTER_CLUSTER = "routers"

_EXTERNAL_PROCESSOR = "extensions.filters.http.ext_proc.v3.ExternalProcessor"


def router_filters(gateway: Gateway) -> list[Json]:
    if not gateway.routers:
        return []
    routing = {"name": "headway.routing", "typed_config": _routing(gateway)}
    tap = {"name": "headway.first_token", "typed_config": _first_token_tap()}
    return [routing, tap] if gateway.first_token_tap else [routing]


def _routing(gateway: Gateway) -> Json:
    """The filter whose answer names the endpoint.

    Responses are not sent to the router, as every chunk would cost it 80 us.  The stream stays
    open until the response has ended, which is the router's exact signal to return its charge.
    """
    duplex = gateway.body_mode is BodyMode.FULL_DUPLEX_STREAMED
    return typed(
        _EXTERNAL_PROCESSOR,
        grpc_service=_router_service(),
        failure_mode_allow=gateway.failure_mode_allow,
        allow_mode_override=True,
        message_timeout=seconds(gateway.message_timeout_s),
        metadata_options={
            # Without it the destination in the answer's metadata is silently dropped.
            "receiving_namespaces": {"untyped": ["envoy.lb"]},
            "forwarding_namespaces": {"untyped": ["envoy.lb", "envoy.lb.subset_hint"]},
        },
        processing_mode={
            "request_header_mode": "SEND",
            "request_body_mode": gateway.body_mode.value,
            # Envoy refuses full duplex without its trailers.
            "request_trailer_mode": "SEND" if duplex else "SKIP",
            "response_header_mode": "SKIP",
            "response_body_mode": "NONE",
            # In full duplex the stream would else end with the request, and with it the charge.
            "response_trailer_mode": "SEND" if duplex else "SKIP",
        },
    )


def _first_token_tap() -> Json:
    """One message per request, the first body chunk; the server then ends the stream.

    In observability mode Envoy waits for nothing.
    """
    return typed(
        _EXTERNAL_PROCESSOR,
        grpc_service=_router_service(),
        failure_mode_allow=True,
        observability_mode=True,
        response_attributes=["request.id", "upstream.address", "response.code"],
        processing_mode={
            "request_header_mode": "SKIP",
            "request_body_mode": "NONE",
            "request_trailer_mode": "SKIP",
            "response_header_mode": "SKIP",
            "response_body_mode": "STREAMED",
            "response_trailer_mode": "SKIP",
        },
    )


def _router_service() -> Json:
    """The streams of both filters carry the request id, so that the same router gets them."""
    return {
        "envoy_grpc": {"cluster_name": ROUTER_CLUSTER, "authority": "headway-router"},
        "initial_metadata": [{"key": REQUEST_ID_METADATA, "value": "%REQ(x-request-id)%"}],
    }
