"""The table of every series the router exports: name, kind, help, labels, buckets.

Every label has a closed set of values.  ``pool`` takes the configured pools' names and ``""``,
where no pool could be told (an unknown model, an unreadable body).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from headway_core.outcomes import Reason, ShedReason
from headway_router.errors import RejectReason
from headway_router.kv_events.outcomes import (
    BatchOutcome,
    CacheKnowledge,
    ResetReason,
    StoredOutcome,
)
from headway_router.metric_labels import (
    EndpointCondition,
    FirstTokenOutcome,
    LogLineOutcome,
    Phase,
    ReloadOutcome,
    RequestOutcome,
    ResourceKind,
    SampleOutcome,
    ScrapeOutcome,
    SnapshotOrigin,
    SpanOutcome,
    TokenSource,
)


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    READING = "gauge, read on request"
    """Never set: taken from ``metrics.Readings`` when the page is rendered."""


POOL = "a pool's name"
Values = type[StrEnum] | str
"""An enumeration, or words for a set that configuration or another module closes."""

_TTFT_BUCKETS_S = (
    *(0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0),
    *(10.0, 20.0, 40.0, 80.0, 160.0),
)
_INTER_TOKEN_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 2.0)
_PHASE_BUCKETS_S = (5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 2e-2, 1e-1)
_HELD_BUCKETS_S = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_LAG_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)
_SCRAPE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One family of series."""

    name: str
    kind: Kind
    help: str
    labels: Mapping[str, Values] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()


TABLE: tuple[Row, ...] = (
    Row(
        "headway_requests_total",
        Kind.COUNTER,
        "Requests, counted once each when they are settled.",
        {"pool": POOL, "outcome": RequestOutcome},
    ),
    Row(
        "headway_shed_total",
        Kind.COUNTER,
        "Requests refused by policy, when the refusal is sent.",
        {"pool": POOL, "reason": ShedReason},
    ),
    Row(
        "headway_rejected_total",
        Kind.COUNTER,
        "Requests refused for bad input, when the refusal is sent.",
        {"reason": RejectReason},
    ),
    Row(
        "headway_decisions_total",
        Kind.COUNTER,
        "Placements, by why the endpoint was chosen.",
        {"pool": POOL, "reason": Reason},
    ),
    Row(
        "headway_predicted_prompt_tokens_total",
        Kind.COUNTER,
        "Prompt tokens of placed requests, as estimated when they are placed.",
        {"pool": POOL},
    ),
    Row(
        "headway_predicted_hit_tokens_total",
        Kind.COUNTER,
        "Those of them that were predicted to be cached on the chosen endpoint.",
        {"pool": POOL},
    ),
    Row(
        "headway_fallbacks_total",
        Kind.COUNTER,
        "Requests that the gateway moved to their second endpoint, when the first token tells.",
        {"pool": POOL},
    ),
    Row(
        "headway_held_seconds",
        Kind.HISTOGRAM,
        "Time a held request waited in the router, when it is placed or shed.",
        {"pool": POOL},
        _HELD_BUCKETS_S,
    ),
    Row(
        "headway_ttft_seconds",
        Kind.HISTOGRAM,
        "From a request's arrival to its first token, when the first-token tap reports it.",
        {"pool": POOL},
        _TTFT_BUCKETS_S,
    ),
    Row(
        "headway_first_tokens_total",
        Kind.COUNTER,
        "Reports of the first-token tap.",
        {"outcome": FirstTokenOutcome},
    ),
    Row(
        "headway_sampled_responses_total",
        Kind.COUNTER,
        "Responses that were read to learn from them, when each ends.",
        {"pool": POOL, "outcome": SampleOutcome},
    ),
    Row(
        "headway_sampled_prompt_tokens_total",
        Kind.COUNTER,
        "Prompt tokens of responses with usage: as predicted, and as the engine reported them.",
        {"pool": POOL, "source": TokenSource},
    ),
    Row(
        "headway_sampled_hit_tokens_total",
        Kind.COUNTER,
        "Those of them that were cached, where the engine reports it: predicted and reported.",
        {"pool": POOL, "source": TokenSource},
    ),
    Row(
        "headway_inter_token_seconds",
        Kind.HISTOGRAM,
        "Between tokens of responses that are read, as they pass the gateway.",
        {"pool": POOL},
        _INTER_TOKEN_BUCKETS_S,
    ),
    Row(
        "headway_tokens_per_byte",
        Kind.READING,
        "Prompt tokens per byte of canonical content, as learned; 0.25 before there is evidence.",
        {"pool": POOL},
    ),
    Row(
        "headway_phase_seconds",
        Kind.HISTOGRAM,
        "The router's own work on a request, per phase, when the phase ends.",
        {"phase": Phase},
        _PHASE_BUCKETS_S,
    ),
    Row("headway_streams_open", Kind.GAUGE, "External-processing streams that are open."),
    Row(
        "headway_leases_outstanding",
        Kind.READING,
        "Charges taken and not returned; 0 when no request is in flight.",
    ),
    Row(
        "headway_held_requests",
        Kind.READING,
        "Requests that wait in the router.",
        {"pool": POOL},
    ),
    Row(
        "headway_endpoints",
        Kind.READING,
        "Endpoints of the fleet, by what is known of them.",
        {"pool": POOL, "state": EndpointCondition},
    ),
    Row(
        "headway_endpoints_stale",
        Kind.READING,
        "Endpoints whose last scrape is older than the policy's bound, or that had none.",
        {"pool": POOL},
    ),
    Row(
        "headway_scrapes_total",
        Kind.COUNTER,
        "Reads of engines' metrics, when each ends.",
        {"outcome": ScrapeOutcome},
    ),
    Row(
        "headway_scrape_seconds",
        Kind.HISTOGRAM,
        "Duration of a successful scrape, request and parsing.",
        buckets=_SCRAPE_BUCKETS_S,
    ),
    Row(
        "headway_caches",
        Kind.READING,
        "Endpoints of pools with prefix mode Precise; all but `exact` have the mirror only.",
        {"pool": POOL, "knowledge": CacheKnowledge},
    ),
    Row(
        "headway_kv_batches_total",
        Kind.COUNTER,
        "Batches of KV events, by how they came.",
        {"outcome": BatchOutcome},
    ),
    Row(
        "headway_kv_stored_blocks_total",
        Kind.COUNTER,
        "Blocks that engines told they stored, by what they were joined to.",
        {"outcome": StoredOutcome},
    ),
    Row(
        "headway_kv_resets_total",
        Kind.COUNTER,
        "Times that all an engine had told was forgotten, by reason.",
        {"reason": ResetReason},
    ),
    Row(
        "headway_config_reloads_total",
        Kind.COUNTER,
        "Reads of the configuration, when each ends.",
        {"outcome": ReloadOutcome},
    ),
    Row(
        "headway_config_problems",
        Kind.READING,
        "Problems of the last configuration read; above 0, an older one is in force.",
    ),
    Row(
        "headway_certificate_reloads_total",
        Kind.COUNTER,
        "Reads of the certificate's files, when each ends.",
        {"outcome": ReloadOutcome},
    ),
    Row(
        "headway_certificate_problems",
        Kind.READING,
        "Problems of the certificate's files; above 0, an older one is served. None without TLS.",
    ),
    Row(
        "headway_certificate_expiry_timestamp_seconds",
        Kind.READING,
        "Unix time at which the certificate in force expires. None without TLS.",
    ),
    Row(
        "headway_decision_log_lines_total",
        Kind.COUNTER,
        "Lines of the decision log, when they are written or given up.",
        {"outcome": LogLineOutcome},
    ),
    Row(
        "headway_spans_total",
        Kind.COUNTER,
        "Spans of requests, when they are sent to the collector or given up.",
        {"outcome": SpanOutcome},
    ),
    Row(
        "headway_router_snapshot_age_seconds",
        Kind.READING,
        "Since the snapshot in force arrived or was read. None without an operator, as the next.",
    ),
    Row(
        "headway_router_snapshot_source",
        Kind.READING,
        "1 for where the snapshot in force has come from.",
        {"source": SnapshotOrigin},
    ),
    Row(
        "headway_router_snapshot_generation",
        Kind.READING,
        "Generation in force of each resource.",
        {"kind": ResourceKind, "name": "a resource's namespace/name"},
    ),
    Row(
        "headway_router_policy_rejected",
        Kind.READING,
        "Resources whose newest generation is not in force, as it does not compile here.",
    ),
    Row(
        "headway_router_snapshot_files_corrupt",
        Kind.READING,
        "Snapshots on disk that were ignored because they are not what was written.",
    ),
    Row(
        "headway_router_endpoints_kept",
        Kind.READING,
        "Endpoints of a pool that has lost all of them, kept for 30 s as they still answer.",
        {"pool": POOL},
    ),
    Row(
        "headway_event_loop_lag_seconds",
        Kind.HISTOGRAM,
        "How late a timer of the event loop fires, sampled all the time.",
        buckets=_LAG_BUCKETS_S,
    ),
)

_ROWS = {row.name: row for row in TABLE}


def row_of(name: str, kind: Kind) -> Row:
    row = _ROWS[name]
    if row.kind is not kind:
        raise ValueError(f"{name} is a {row.kind}, not a {kind}")
    return row
