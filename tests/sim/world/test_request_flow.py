"""One request's way through gateway, router and engine, by the clock."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from headway_core.events import Failed, Finished, FirstToken, Scraped, UsageReported
from headway_core.policy import FlowControl, Policy
from headway_core.router import Router
from headway_sim.pickers import Picker, ProductionPicker
from headway_sim.profiles import Constants
from headway_sim.traffic import FixedConcurrency, OpenLoop
from headway_sim.workloads.request import WorkloadRequest
from headway_sim.world.records import Fate
from headway_sim.world.setting import Crash, FirstTokens, Observation, Scrapes, Setting
from headway_sim.world.testing import (
    QUIET,
    Scripted,
    a_fleet,
    a_request,
    an_engine,
)
from headway_sim.world.world import World


def a_world(
    picker: Scripted,
    requests: Sequence[WorkloadRequest],
    setting: Setting = QUIET,
    *,
    seats: int = 8,
) -> World:
    names = ["a", "b"]
    return World(
        fleet=a_fleet(names),
        engines={name: an_engine(seats=seats) for name in names},
        traffic=OpenLoop(requests),
        make_picker=picker.make,
        setting=setting,
    )


def test_times_are_those_at_the_client() -> None:
    picker = Scripted(["a"])
    setting = replace(QUIET, router_engine_s=0.002)
    run = a_world(picker, [a_request(1.0, output=3)], setting).run()
    (record,) = run.records
    assert record.fate is Fate.FINISHED
    assert record.sent_ns == 1_000_000_000
    assert record.ttft_s == pytest.approx(0.002 + 0.010 + 0.002)
    assert record.e2e_s == pytest.approx(0.002 + 0.030 + 0.002)
    assert record.tpot_s == pytest.approx(0.010)
    assert run.end_ns == record.ended_ns


def test_a_request_passes_the_api_server_before_the_engine_sees_it() -> None:
    api = Constants(api_ms=5.0, api_ms_per_prompt_token=0.01)
    world = World(
        fleet=a_fleet(["a"]),
        engines={"a": replace(an_engine(), api=api)},
        traffic=OpenLoop([a_request(1.0, prompt=100, output=3)]),
        make_picker=Scripted(["a"]).make,
        setting=QUIET,
    )
    (record,) = world.run().records
    assert record.ttft_s == pytest.approx(0.006 + 0.010)
    assert record.e2e_s == pytest.approx(0.006 + 0.030)


def test_an_engine_that_dies_takes_what_is_in_its_api_server_with_it() -> None:
    crash = Crash(endpoint_id="a", at_s=1.002, down_s=0.001)
    world = World(
        fleet=a_fleet(["a"]),
        engines={"a": replace(an_engine(), api=Constants(api_ms=5.0))},
        traffic=OpenLoop([a_request(1.0)]),
        make_picker=Scripted(["a"]).make,
        setting=replace(QUIET, faults=(crash,)),
    )
    (record,) = world.run().records
    assert (record.fate, record.reason) == (Fate.FAILED, "engine lost")


def test_a_second_prompt_finds_what_the_first_left_in_the_cache() -> None:
    requests = [a_request(0.0, prompt=100, text="x"), a_request(1.0, prompt=100, text="x")]
    first, second = a_world(Scripted(["a"]), requests).run().records
    assert (first.cached_tokens, second.cached_tokens) == (0, 96)


def test_the_tap_tells_of_every_first_token_when_it_passes_the_gateway() -> None:
    picker = Scripted(["b"])
    run = a_world(picker, [a_request(1.0, output=3)]).run()
    first_s = 1.0 + (run.records[0].ttft_s or 0)
    ((told_s, told),) = picker.saw(FirstToken)
    assert told_s == pytest.approx(first_s)
    assert told == FirstToken("r0", "b")
    assert [event for _, event in picker.saw(Finished)] == [Finished("r0")]
    assert picker.saw(Finished)[0][0] == pytest.approx(1.0 + (run.records[0].e2e_s or 0))


@pytest.mark.parametrize(
    ("mode", "share", "first_tokens", "usages"),
    [
        pytest.param(FirstTokens.TAP, 0.0, 200, 0, id="a tap sees all, and no usage"),
        pytest.param(FirstTokens.SAMPLED, 0.0, 0, 0, id="nothing sampled, nothing seen"),
        pytest.param(FirstTokens.SAMPLED, 1.0, 200, 200, id="all sampled"),
        pytest.param(FirstTokens.ABSENT, 1.0, 0, 0, id="absent: only ends"),
    ],
)
def test_what_is_seen_of_streams_is_what_the_mode_says(
    mode: FirstTokens, share: float, first_tokens: int, usages: int
) -> None:
    picker = Scripted(["a"])
    observation = replace(QUIET.observation, first_tokens=mode, sampled_share=share)
    requests = [a_request(0.1 * i) for i in range(200)]
    a_world(picker, requests, replace(QUIET, observation=observation)).run()
    assert len(picker.saw(FirstToken)) == first_tokens
    assert len(picker.saw(UsageReported)) == usages
    assert len(picker.saw(Finished)) == 200


def test_a_sampled_share_is_met_within_its_standard_error() -> None:
    picker = Scripted(["a"])
    observation = replace(QUIET.observation, first_tokens=FirstTokens.SAMPLED, sampled_share=0.3)
    requests = [a_request(0.1 * i) for i in range(1000)]
    a_world(picker, requests, replace(QUIET, observation=observation)).run()
    assert abs(len(picker.saw(FirstToken)) - 300) <= 3 * (1000 * 0.3 * 0.7) ** 0.5


def test_usage_has_the_true_prompt_its_cached_tokens_and_the_output() -> None:
    picker = Scripted(["a"])
    observation = replace(QUIET.observation, sampled_share=1.0, size_error=0.5)
    requests = [a_request(0.0, text="x"), a_request(1.0, text="x")]
    a_world(picker, requests, replace(QUIET, observation=observation)).run()
    assert [event for _, event in picker.saw(UsageReported)] == [
        UsageReported("r0", 100, 0, output_tokens=1),
        UsageReported("r1", 100, 96, output_tokens=1),
    ]


def test_the_router_is_told_an_estimate_of_the_prompt_and_never_its_size() -> None:
    picker = Scripted(["a"])
    observation = replace(QUIET.observation, size_error=0.5)
    requests = [a_request(0.1 * i, prompt=1000) for i in range(50)]
    run = a_world(picker, requests, replace(QUIET, observation=observation)).run()
    told = [request.prompt_tokens for _, request in picker.requests]
    assert told == [record.estimated_tokens for record in run.records]
    assert len(set(told)) > 40
    assert all(request.max_output_tokens is None for _, request in picker.requests)


def test_scrapes_come_late_and_say_what_was_true_when_they_were_read() -> None:
    picker = Scripted(["a"])
    scrapes = Scrapes(interval_s=0.1, jitter=0.0, delay_s=0.05)
    observation = replace(QUIET.observation, scrapes=scrapes)
    requests = [a_request(0.0, output=300) for _ in range(10)]
    setting = replace(QUIET, observation=observation)
    a_world(picker, requests, setting, seats=6).run()
    scraped = [(now, event) for now, event in picker.seen if isinstance(event, Scraped)]
    views = [(now, event.view) for now, event in scraped if event.endpoint_id == "a"]
    assert [round(b[0] - a[0], 6) for a, b in pairwise(views)][:5] == [0.1] * 5
    during = next(view for now, view in views if now > 1.0)
    assert (during.running, during.waiting) == (6, 4)
    assert during.kv_cache_tokens == 2001 * 16
    # Read while four were left, known only when they had gone.
    assert all(view.running == 6 for now, view in views if now < 3.0)


def test_lost_scrapes_never_arrive() -> None:
    counts = []
    for loss in (0.0, 0.5, 1.0):
        picker = Scripted(["a"])
        scrapes = Scrapes(interval_s=0.05, loss=loss)
        observation = replace(QUIET.observation, scrapes=scrapes)
        a_world(
            picker, [a_request(0.0, output=1500)], replace(QUIET, observation=observation)
        ).run()
        counts.append(len(picker.saw(Scraped)))
    assert counts[2] == 0
    assert 0.35 < counts[1] / counts[0] < 0.65


def test_a_request_that_no_engine_can_serve_fails_and_is_told() -> None:
    picker = Scripted(["a"])
    run = a_world(picker, [a_request(0.0, prompt=40_000)]).run()
    assert run.records[0].fate is Fate.FAILED
    assert "max_model_len" in (run.records[0].reason or "")
    assert [event for _, event in picker.saw(Failed)] == [Failed("r0")]


def test_the_production_router_holds_sheds_and_lets_go() -> None:
    policy = Policy(flow_control=FlowControl(max_queued_requests=5, queue_timeout_s=1.0))
    routers: list[Router] = []

    def make(replica: int, starts: int) -> Picker:
        routers.append(Router(Random(0)))
        return ProductionPicker(routers[-1])

    world = World(
        fleet=a_fleet(["a"], policy=policy),
        engines={"a": an_engine(seats=2)},
        traffic=OpenLoop([a_request(0.001 * i, prompt=1500, output=20) for i in range(40)]),
        make_picker=make,
        setting=QUIET,
    )
    run = world.run()
    fates = {fate: [r for r in run.records if r.fate is fate] for fate in Fate}
    assert fates[Fate.SHED] and fates[Fate.FINISHED] and not fates[Fate.FAILED]
    assert {r.reason for r in fates[Fate.SHED]} <= {"queue-full", "queue-timeout"}
    assert any(r.was_held for r in fates[Fate.FINISHED])
    assert routers[0].leases_outstanding == 0 and routers[0].held == 0


def test_a_closed_loop_keeps_its_concurrency_and_sends_after_the_answer() -> None:
    picker = Scripted(["a"])
    requests = [a_request(0.0, output=10, text=f"x{i}") for i in range(30)]
    world = World(
        fleet=a_fleet(["a"]),
        engines={"a": an_engine(asynchronous=True)},
        traffic=FixedConcurrency(requests, 3, 0.5, Random(1)),
        make_picker=picker.make,
        setting=QUIET,
    )
    run = world.run()
    assert run.peak_in_system == 3
    assert len(run.records) == 30
    assert all(record.fate is Fate.FINISHED for record in run.records)


def test_observations_have_defaults_that_can_be_run() -> None:
    picker = Scripted(["a"])
    run = a_world(picker, [a_request(0.0, prompt=600)], Setting(observation=Observation())).run()
    assert run.records[0].fate is Fate.FINISHED
