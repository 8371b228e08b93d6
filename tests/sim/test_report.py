"""Reports, by hand-made records."""

from dataclasses import replace

import pytest

from headway_core.facts import Slo
from headway_sim.report import Report, percentile, report, unloaded_ttft
from headway_sim.scenario import PoissonSource, Scenario, Workload
from headway_sim.workloads.poisson import Poisson
from headway_sim.world.records import Fate, RequestRecord
from headway_sim.world.testing import a_fleet, an_engine, steps_of
from headway_sim.world.world import Run

S = 1_000_000_000


def a_scenario(
    *, warm_up: int = 0, slo: Slo | None = None, tpot_s: float | None = None
) -> Scenario:
    return Scenario(
        name="n",
        fleet=a_fleet(["a", "b"], slo=Slo(ttft_s=1.0)),
        engines={"a": an_engine(), "b": an_engine()},
        workload=Workload(
            source=PoissonSource(shape=Poisson(rate_per_s=1)), requests=4, warm_up_requests=warm_up
        ),
        slo=slo,
        tpot_slo_s=tpot_s,
    )


def a_record(
    number: int, ttft_s: float, *, prompt: int = 100, fate: Fate = Fate.FINISHED
) -> RequestRecord:
    """Arrives after ``number`` seconds; 11 tokens, 0.1 s each after the first."""
    arrived = number * S
    record = RequestRecord(
        number=number,
        arrived_ns=arrived,
        prompt_tokens=prompt,
        estimated_tokens=prompt,
        output_tokens=11,
        session=None,
        replica=0,
        fate=fate,
        ended_ns=arrived + round((ttft_s + 1.0) * S),
    )
    if fate is Fate.FINISHED:
        record.first_token_ns = arrived + round(ttft_s * S)
        record.endpoint_id = "a"
        record.cached_tokens = prompt // 2
    else:
        record.reason = "why"
    return record


def reported(records: list[RequestRecord], scenario: Scenario | None = None) -> Report:
    scenario = scenario or a_scenario()
    return report(scenario, Run(tuple(records), 10 * S, 5, 2), scenario.world().hosts)


def test_attainment_is_of_arrivals_and_shed_and_failed_ones_are_missed() -> None:
    found = reported(
        [
            a_record(0, 0.5),
            a_record(1, 1.5),
            a_record(2, 0.1, fate=Fate.SHED),
            a_record(3, 0.1, fate=Fate.FAILED),
        ]
    )
    assert found["attainment"] == 0.25
    assert found["delivered_rate_per_s"] == 1.0
    assert found["goodput_per_s"] == 0.25
    assert found["requests"]["shed_by_reason"] == {"why": 1}
    assert found["requests"]["failed_by_reason"] == {"why": 1}
    assert (found["requests"]["finished"], found["requests"]["shed"]) == (2, 1)


def test_latencies_are_of_finished_requests() -> None:
    found = reported([a_record(0, 0.5), a_record(1, 1.5), a_record(2, 99.0, fate=Fate.FAILED)])
    assert found["ttft_s"]["mean"] == 1.0
    assert found["ttft_s"]["max"] == 1.5
    assert found["ttft_s"]["p50"] == 1.0
    assert found["tpot_s"]["p99"] == pytest.approx(0.1)
    assert found["e2e_s"]["mean"] == 2.0
    assert found["cached_share"] == 0.5


@pytest.mark.parametrize(
    ("slo", "tpot_s", "attainment"),
    [
        pytest.param(None, None, 0.5, id="the pool's target"),
        pytest.param(Slo(ttft_s=2.0), None, 1.0, id="the scenario's own wins"),
        pytest.param(Slo(ttft_s=0.1, ttft_s_per_1k_tokens=14.0), None, 1.0, id="by prompt length"),
        pytest.param(Slo(ttft_s=2.0), 0.09, 0.0, id="too slow after the first token"),
        pytest.param(None, 0.11, 0.5, id="both must hold"),
    ],
)
def test_what_is_within_the_slo(slo: Slo | None, tpot_s: float | None, attainment: float) -> None:
    found = reported([a_record(0, 0.5), a_record(1, 1.5)], a_scenario(slo=slo, tpot_s=tpot_s))
    assert found["attainment"] == attainment


def test_without_a_target_nothing_is_judged() -> None:
    scenario = replace(a_scenario(), fleet=a_fleet(["a", "b"]))
    found = reported([a_record(0, 0.5), a_record(1, 0.5)], scenario)
    assert found["attainment"] is None
    assert found["goodput_per_s"] is None
    assert found["by_prompt_tokens"][0]["attainment"] is None


def test_the_warm_up_is_in_no_figure_of_requests() -> None:
    found = reported([a_record(0, 9.0), a_record(1, 0.5)], a_scenario(warm_up=1))
    assert (found["requests"]["arrived"], found["requests"]["warm_up"]) == (1, 1)
    assert found["ttft_s"]["max"] == 0.5
    assert found["engines"][0]["requests"] == 2


def test_every_engine_says_how_its_step_times_are_known() -> None:
    for engine in reported([a_record(0, 0.5)])["engines"]:
        assert engine["step_times"]["rung"] == "given"


def test_lengths_are_told_apart_with_their_slowdown() -> None:
    records = [a_record(0, 0.02), a_record(1, 0.03), a_record(2, 4.0, prompt=1000)]
    short, long = reported(records)["by_prompt_tokens"]
    assert (short["from"], short["below"], short["arrived"]) == (0, 1000, 2)
    assert (long["from"], long["below"], long["arrived"]) == (1000, 2500, 1)
    assert (short["attainment"], long["attainment"]) == (1.0, 0.0)
    assert short["slowdown"]["max"] == pytest.approx(3.0)  # A step takes 10 ms.
    assert long["slowdown"]["max"] == pytest.approx(400.0)


def test_an_unloaded_prompt_takes_its_chunks_on_the_fastest_kind() -> None:
    fast = replace(an_engine(model=steps_of(0.1)), profile="fast")
    slow = replace(an_engine(model=steps_of(0.5)), profile="slow")
    seconds = unloaded_ttft({"a": slow, "b": fast})
    assert seconds(32_000) == pytest.approx(0.1)
    assert seconds(32_001) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1.0), (50, 2.0), (75, 3.0), (95, 3.8), (100, 4.0)]
)
def test_percentiles_interpolate(percent: float, value: float) -> None:
    assert percentile([1.0, 2.0, 4.0], percent) == pytest.approx(value)


def test_a_run_of_nothing_has_a_report() -> None:
    found = reported([])
    assert (found["attainment"], found["ttft_s"], found["by_prompt_tokens"]) == (None, None, [])
