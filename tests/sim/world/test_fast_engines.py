"""A world on fast engines is the world on literal ones, at a cost that counts show."""

from dataclasses import replace
from random import Random

import pytest

from headway_core.events import BlocksStored
from headway_sim.engine import Engine
from headway_sim.scenario import PoissonSource, Scenario, Workload
from headway_sim.traffic import OpenLoop
from headway_sim.workloads.poisson import Poisson, generate
from headway_sim.workloads.request import WorkloadRequest, cut
from headway_sim.world.hosts import EngineBuilder
from headway_sim.world.setting import Crash, Drain, KvEvents, Scrapes, Setting, Straggler
from headway_sim.world.testing import QUIET, Scripted, a_fleet, a_request, an_engine, steps_of
from headway_sim.world.world import Run, World

RARE = Scrapes(interval_s=1000.0)
NAMES = ("a", "b", "c")


def some_requests() -> list[WorkloadRequest]:
    shape = Poisson(rate_per_s=20, output_tokens=(1, 300))
    found: list[WorkloadRequest] = []
    for request in generate(shape, seed=1):
        if request.at_s > 20:
            return found
        found.append(request)
    raise AssertionError("arrivals do not end")


def run_with(
    build: EngineBuilder | None,
    requests: list[WorkloadRequest],
    setting: Setting,
    *,
    seats: int = 8,
) -> tuple[Run, Scripted, World]:
    rng = Random(3)
    picker = Scripted([rng.choice(NAMES) for _ in requests], fallback_id="b")
    world = World(
        fleet=a_fleet(NAMES),
        engines={
            name: an_engine(seats=seats, model=steps_of(0.010, 0.000_031), asynchronous=name != "c")
            for name in NAMES
        },
        traffic=OpenLoop(requests),
        make_picker=picker.make,
        setting=setting,
        build_engine=build,
    )
    return world.run(), picker, world


@pytest.mark.parametrize("told", [True, False], ids=["told of caches", "not told"])
def test_records_and_all_that_routers_see_are_the_same(told: bool) -> None:
    setting = replace(
        QUIET,
        router_engine_s=0.001,
        observation=replace(QUIET.observation, kv_events=KvEvents() if told else None),
        faults=(
            Straggler(endpoint_id="a", at_s=3.0, for_s=4.0, factor=2.5),
            Crash(endpoint_id="b", at_s=6.0, down_s=2.0),
            Drain(endpoint_id="c", at_s=14.0, grace_s=2.0),
        ),
    )
    requests = some_requests()
    literal, heard, slow_world = run_with(Engine, requests, setting)
    fast, heard_too, fast_world = run_with(None, requests, setting)
    assert fast.records == literal.records
    assert heard_too.seen == heard.seen
    assert bool(heard.saw(BlocksStored)) is told
    for name in NAMES:
        ours, theirs = fast_world.hosts[name].counters(), slow_world.hosts[name].counters()
        assert replace(ours, busy_s=0) == replace(theirs, busy_s=0)
        assert ours.busy_s == pytest.approx(theirs.busy_s, abs=1e-9)
    assert fast.events < literal.events


def test_a_scenario_goes_fast_unless_it_asks_for_literal_engines() -> None:
    scenario = Scenario(
        name="s",
        fleet=a_fleet(NAMES),
        engines={name: an_engine() for name in NAMES},
        workload=Workload(source=PoissonSource(shape=Poisson(rate_per_s=20)), requests=50),
    )
    fast = scenario.world().run()
    literal = replace(scenario, literal_engines=True).world().run()
    assert fast.records == literal.records
    assert fast.events < literal.events / 2


def test_events_of_a_request_do_not_grow_with_its_answer() -> None:
    def events(output: int) -> float:
        requests = [a_request(0.5 * n, output=output) for n in range(40)]
        setting = replace(QUIET, observation=replace(QUIET.observation, scrapes=RARE))
        return run_with(None, requests, setting, seats=1000)[0].events / 40

    assert events(20) <= 9
    assert events(2000) <= 1.5 * events(20)


def test_events_of_a_request_do_not_grow_with_the_fleet() -> None:
    def events(engines: int) -> float:
        names = [f"e{n}" for n in range(engines)]
        requests = cut([a_request(n * 0.4 / engines, output=50) for n in range(4096)], 20.0)
        world = World(
            fleet=a_fleet(names),
            engines={name: an_engine(seats=100) for name in names},
            traffic=OpenLoop(requests),
            make_picker=Scripted(names * 200).make,
            setting=replace(QUIET, observation=replace(QUIET.observation, scrapes=RARE)),
        )
        return world.run().events / len(requests)

    assert events(80) <= 1.1 * events(8)
