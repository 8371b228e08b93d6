"""The numbers that are reported: counted, compared with the target, and the same in both forms."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from headway_cli.demo.arms import Outcome
from headway_cli.demo.client import Exchange, Status
from headway_cli.demo.counters import EngineCounters
from headway_cli.demo.experiment import CONVERSATIONS_FLEET, TRACE_FLEET, Experiment, TraceFacts
from headway_cli.demo.report import as_json, as_table, percentile, reasons
from headway_core.facts import Slo
from headway_router.envoy import GatewayPolicy
from headway_sim.workloads.request import Segment, WorkloadRequest

FAST = Exchange(status=Status.COMPLETE, prompt_tokens=1000, cached_tokens=600, ttft_s=0.1)
SLOW = Exchange(status=Status.COMPLETE, prompt_tokens=3000, cached_tokens=200, ttft_s=0.6)
SHED = Exchange(status=Status.SHED, prompt_tokens=10, error="queue-full")
FAILED = Exchange(status=Status.FAILED, prompt_tokens=10, error="500")


def an_outcome(*exchanges: Exchange) -> Outcome:
    return Outcome(
        policy=GatewayPolicy.ROUND_ROBIN,
        exchanges=exchanges,
        leases_outstanding=0,
        lag_samples_s=[0.004] * 100,
        engines={
            spec.name: EngineCounters(requests=n, prompt_tokens=10 * n, cached_tokens=n)
            for n, spec in enumerate(CONVERSATIONS_FLEET.engines)
        },
    )


def a_report(slo: Slo, trace: TraceFacts | None = None) -> dict[str, Any]:
    outcome = an_outcome(FAST, FAST, SLOW, SHED, FAILED)
    request = WorkloadRequest(at_s=0.0, prompt=(Segment("p", 1000),), output_tokens=7)
    experiment = Experiment(
        name="some",
        requests=5 * (request,),
        duration_s=30.0,
        fleet=replace(CONVERSATIONS_FLEET, slo=slo),
        trace=trace,
    )
    outcomes = [outcome, replace(outcome, policy=GatewayPolicy.ROUTED, leases_outstanding=0)]
    return as_json(experiment, seed=7, dilation=2.0, outcomes=outcomes)


def test_the_whole_report() -> None:
    report = a_report(Slo(ttft_s=0.5))
    runs = report.pop("runs")
    assert report == {
        "schema": 1,
        "seed": 7,
        "dilation": 2.0,
        "workload": {
            "name": "some",
            "duration_s": 30.0,
            "requests": 5,
            "prompt_tokens": 5000,
            "output_tokens": 35,
        },
    }
    assert [run["policy"] for run in runs] == ["round-robin", "headway"]
    run = runs[0]
    engines = run.pop("engines")
    assert run == {
        "policy": "round-robin",
        "requests": 5,
        "failed": 1,
        "shed": 1,
        "ttft_s": {"p50": 0.1, "p90": 0.5, "p99": 0.59},
        "slo": {"ttft_s": 0.5},
        "slo_attainment": 0.4,
        "cached_token_share": 0.28,
        "leases_outstanding": 0,
        "event_loop_lag_s": {"p99": 0.002},
    }
    assert engines[3] == {
        "name": "a100-1",
        "accelerator": "a100-80gb",
        "requests": 3,
        "prompt_tokens": 30,
        "cached_tokens": 3,
    }


def test_a_target_that_grows_with_the_prompt_is_reported_and_used() -> None:
    report = a_report(TRACE_FLEET.slo, TraceFacts(requests=12_031, speed=4.0))
    assert report["workload"]["requests_in_trace"] == 12_031
    assert report["workload"]["times_faster_than_recorded"] == 4.0
    assert report["runs"][0]["slo"] == {"ttft_s": 1.0, "ttft_s_per_1k_tokens": 0.1}
    # 0.6 s for 3,000 tokens is within 1.3 s.
    assert report["runs"][0]["slo_attainment"] == 0.6
    tight = a_report(Slo(ttft_s=0.1, ttft_s_per_1k_tokens=0.1))
    assert tight["runs"][0]["slo_attainment"] == 0.4


def test_the_table_shows_both_policies() -> None:
    text = io.StringIO()
    Console(file=text, width=120).print(
        as_table(a_report(TRACE_FLEET.slo, TraceFacts(requests=12_031, speed=4.0)))
    )
    for expected in ("round-robin", "headway", "of 12,031", "60.0%", "28.0%", "a100-1", "0.590"):
        assert expected in text.getvalue()


def test_reasons_are_counted_and_the_most_frequent_is_first() -> None:
    outcome = an_outcome(FAST, SHED, FAILED, FAILED)
    assert reasons([outcome]) == ["round-robin: 2 failed: 500", "round-robin: 1 shed: queue-full"]


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, None),
        ([3.0], 99, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.5),
        ([0.0, 10.0], 90, 9.0),
        ([1.0, 2.0, 3.0], 100, 3.0),
    ],
)
def test_percentiles_lie_between_the_closest_ranks(
    values: list[float], percent: float, expected: float | None
) -> None:
    assert percentile(values, percent) == pytest.approx(expected)
