from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headway_core.facts import Role
from headway_core.outcomes import (
    Candidate,
    Decision,
    Held,
    Lease,
    Leg,
    Placed,
    Reason,
    Shed,
    ShedReason,
)
from headway_router.errors import RejectReason
from headway_router.metric_labels import EndpointCondition, FirstTokenOutcome, Phase, ScrapeOutcome
from headway_router.metric_page import markdown
from headway_router.metric_readings import Readings
from headway_router.metric_table import TABLE, Kind, Row
from headway_router.metrics import Metrics

DOCS = Path(__file__).parent.parent.parent / "docs" / "metrics.md"
DECISION = Decision(
    pool="ns/p",
    endpoint_id="e",
    candidates=(
        Candidate(
            endpoint_id="e",
            seconds_by_term={"prefill": 0.1},
            ttft_s=0.1,
            hit_tokens=512,
            slo_probability=None,
        ),
    ),
    reason=Reason.AFFINE,
    policy_hash="h",
)
PLACED = Placed("r", DECISION, (Leg(Role.BOTH, "e", Lease(1, 100, 0.1)),))


def _value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_placed_request_counts_with_its_reason_and_predicted_tokens() -> None:
    metrics = Metrics()
    metrics.outcome(PLACED, prompt_tokens=1000)
    assert _value(metrics, "headway_requests_total", pool="ns/p", outcome="placed") == 1
    assert _value(metrics, "headway_decisions_total", pool="ns/p", reason="affine") == 1
    assert _value(metrics, "headway_predicted_prompt_tokens_total", pool="ns/p") == 1000
    assert _value(metrics, "headway_predicted_hit_tokens_total", pool="ns/p") == 512
    assert _value(metrics, "headway_held_seconds_count", pool="ns/p") is None


def test_a_held_request_counts_once_when_it_is_settled() -> None:
    metrics = Metrics()
    metrics.outcome(Held("r", 5.0, DECISION), prompt_tokens=1000)
    assert _value(metrics, "headway_requests_total", pool="ns/p", outcome="placed") is None
    metrics.outcome(PLACED, prompt_tokens=1000, held_s=0.25)
    assert _value(metrics, "headway_requests_total", pool="ns/p", outcome="placed") == 1
    assert _value(metrics, "headway_held_seconds_sum", pool="ns/p") == 0.25


@pytest.mark.parametrize(("decision", "pool"), [(DECISION, "ns/p"), (None, "")])
def test_a_shed_request_counts_with_its_reason(decision: Decision | None, pool: str) -> None:
    metrics = Metrics()
    metrics.outcome(Shed("r", ShedReason.DEADLINE, 2.0, decision), prompt_tokens=1000)
    assert _value(metrics, "headway_requests_total", pool=pool, outcome="shed") == 1
    assert _value(metrics, "headway_shed_total", pool=pool, reason="deadline") == 1


def test_what_never_reaches_an_engine_is_counted_too() -> None:
    metrics = Metrics()
    metrics.rejected(RejectReason.BODY_TOO_LARGE)
    metrics.cancelled("ns/p")
    metrics.answered()
    assert _value(metrics, "headway_rejected_total", reason="body-too-large") == 1
    for pool, outcome in (("", "rejected"), ("ns/p", "cancelled"), ("", "answered")):
        assert _value(metrics, "headway_requests_total", pool=pool, outcome=outcome) == 1


def test_a_first_token_has_a_time_only_if_its_request_is_known() -> None:
    metrics = Metrics()
    metrics.first_token(FirstTokenOutcome.UNKNOWN)
    metrics.first_token(FirstTokenOutcome.MATCHED, pool="ns/p", ttft_s=0.5)
    assert _value(metrics, "headway_first_tokens_total", outcome="unknown") == 1
    assert _value(metrics, "headway_ttft_seconds_count", pool="ns/p") == 1


def test_what_the_core_knows_is_read_when_the_page_is_asked_for() -> None:
    metrics = Metrics()
    now = Readings()
    metrics.read_from(lambda: now)
    assert _value(metrics, "headway_leases_outstanding") == 0
    now = Readings(
        leases_outstanding=3,
        held={"ns/p": 2},
        endpoints={("ns/p", EndpointCondition.READY): 4},
        stale_endpoints={"ns/p": 1},
        config_problems=5,
    )
    assert _value(metrics, "headway_leases_outstanding") == 3
    assert _value(metrics, "headway_held_requests", pool="ns/p") == 2
    assert _value(metrics, "headway_endpoints", pool="ns/p", state="ready") == 4
    assert _value(metrics, "headway_endpoints_stale", pool="ns/p") == 1
    assert _value(metrics, "headway_config_problems") == 5


def test_a_counter_of_few_values_starts_at_zero() -> None:
    metrics = Metrics()
    for outcome in ScrapeOutcome:
        assert _value(metrics, "headway_scrapes_total", outcome=outcome) == 0


def test_every_phase_has_its_histogram() -> None:
    metrics = Metrics()
    for phase in Phase:
        metrics.phase_s[phase].observe(3e-6)
        bucket = _value(metrics, "headway_phase_seconds_bucket", phase=phase, le="5e-06")
        assert bucket == 1


def test_the_page_is_prometheus_text_and_has_exactly_the_rows_of_the_table() -> None:
    families = {f.name: f for f in text_string_to_metric_families(Metrics().page().decode())}
    ours = {
        name: family
        for name, family in families.items()
        if name.startswith("headway_") and not name.endswith("_created")
    }
    rows = {row.name.removesuffix("_total"): row for row in TABLE}
    assert ours.keys() == rows.keys()
    for name, family in ours.items():
        kind = Kind.GAUGE if rows[name].kind is Kind.READING else rows[name].kind
        assert (family.type, family.documentation) == (kind, rows[name].help)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_name_says_the_unit_and_the_help_says_what_it_means(row: Row) -> None:
    assert row.name.startswith("headway_")
    assert row.name.endswith("_total") == (row.kind is Kind.COUNTER)
    is_duration = row.name.endswith("_seconds") and not row.name.endswith("_timestamp_seconds")
    assert is_duration == (row.kind is Kind.HISTOGRAM or row.name.endswith("_age_seconds"))
    assert row.buckets == tuple(sorted(set(row.buckets)))
    assert bool(row.buckets) == (row.kind is Kind.HISTOGRAM)
    assert row.help.endswith(".") and len(row.help) > 20


def test_every_label_has_a_closed_set_of_values() -> None:
    open_sets = {
        (row.name, k) for row in TABLE for k, v in row.labels.items() if isinstance(v, str)
    }
    assert {label for _, label in open_sets} == {"pool", "name"}


def test_the_documentation_is_that_of_the_table() -> None:
    assert DOCS.read_text() == markdown(), (
        "run: python -m headway_router.metric_page > docs/metrics.md"
    )
