"""Headers of the endpoint-picker protocol, and what a client must not send to an engine.

Endpoint-picker protocol 1.0 of the Gateway API Inference Extension; llm-d's names beside it; the
headers that vLLM 0.32 reads.
"""

from headway_router.extproc.messages import Route, Target
from headway_router.openai.head import OBJECTIVE_HEADERS, TENANT_HEADERS, TTFT_HEADERS

DESTINATION = "x-gateway-destination-endpoint"
DESTINATION_NAMESPACE = "envoy.lb"
SUBSET = "x-gateway-destination-endpoint-subset"
SUBSET_NAMESPACE = "envoy.lb.subset_hint"
POOL = "x-headway-pool"
SESSION_ID = "x-session-id"
VLLM_PRIORITY = "x-vllm-priority"
CONTENT_LENGTH = "content-length"
REQUEST_ID = "x-request-id"
TRACEPARENT = "traceparent"
DECISION = "x-headway-decision"
"""Of an answer, by a gateway that adds the metadata of that name."""

REQUEST_ID_METADATA = "x-headway-request-id"
"""gRPC metadata of both streams of a request: its routing and its first token."""

DROPPED_REASON = "x-headway-dropped-reason"
DROPPED_REASON_LLMD = "x-llm-d-request-dropped-reason"

READ = frozenset(
    (
        *(":method", ":path", "content-type", "content-encoding", CONTENT_LENGTH, REQUEST_ID),
        TRACEPARENT,
        *(*OBJECTIVE_HEADERS, *TTFT_HEADERS, *TENANT_HEADERS),
    )
)
"""All that the router looks at in a request."""

REMOVED = (
    SUBSET,
    "x-gateway-destination-endpoint-served",
    "x-prefiller-host-port",
    "x-encoder-hosts-ports",
    "x-data-parallel-host-port",
    "x-kv-cache-source-host-port",
    "x-data-parallel-rank",
    "endpoint-load-metrics-format",
)
"""Removed whether the client sent them or not: a gateway may forward only some headers here.

The destination, the pool and the session id are overwritten instead, so that an order of
removing and setting cannot matter."""

REMOVED_WITH_PRIORITY = (*REMOVED, VLLM_PRIORITY)
"""Where the policy leaves the priority to the engine, so must the client."""


def headers_of_target(target: Target) -> list[tuple[str, str]]:
    """What every request to this target gets, in place of any client's copy."""
    headers = [(DESTINATION, target.destination), (POOL, target.pool)]
    if target.vllm_priority is not None:
        headers.append((VLLM_PRIORITY, str(target.vllm_priority)))
    return headers


def headers_of_request(route: Route) -> list[tuple[str, str]]:
    """What this one gets.  A real vLLM repeats the session id in the KV events of its blocks."""
    headers = [(SESSION_ID, route.request_id)]
    if route.traceparent is not None:
        headers.append((TRACEPARENT, route.traceparent))
    if route.content_length is not None:
        headers.append((CONTENT_LENGTH, str(route.content_length)))
    return headers


def headers_removed(target: Target) -> tuple[str, ...]:
    return REMOVED_WITH_PRIORITY if target.vllm_priority is None else REMOVED
