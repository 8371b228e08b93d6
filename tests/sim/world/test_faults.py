"""What breaks, what is lost with it, and who gets to know."""

from dataclasses import replace

import pytest

from headway_core.events import CacheCleared, Failed, Finished, FirstToken, Scraped, Unreachable
from headway_core.facts import EndpointState
from headway_sim.errors import InvalidScenario
from headway_sim.pickers import Picker, Waits
from headway_sim.traffic import OpenLoop
from headway_sim.workloads.request import WorkloadRequest
from headway_sim.world.records import Fate
from headway_sim.world.setting import (
    Crash,
    Drain,
    Fault,
    Join,
    KvEvents,
    RouterRestart,
    Straggler,
)
from headway_sim.world.testing import QUIET, Scripted, a_fleet, a_request, an_engine
from headway_sim.world.world import Run, World


def run_with(
    picker: Scripted, requests: list[WorkloadRequest], *faults: Fault, kv_events: bool = False
) -> Run:
    observation = replace(QUIET.observation, kv_events=KvEvents() if kv_events else None)
    setting = replace(QUIET, router_engine_s=0.001, faults=faults, observation=observation)
    return World(
        fleet=a_fleet(["a", "b"]),
        engines={name: an_engine() for name in ("a", "b")},
        traffic=OpenLoop(requests),
        make_picker=picker.make,
        setting=setting,
    ).run()


def test_before_its_first_token_a_lost_request_is_retried_once_elsewhere() -> None:
    picker = Scripted(["a"], fallback_id="b")
    crash = Crash(endpoint_id="a", at_s=1.005)
    (record,) = run_with(picker, [a_request(1.0, output=5)], crash).records
    assert (record.fate, record.retries, record.endpoint_id) == (Fate.FINISHED, 1, "b")
    assert [event for _, event in picker.saw(FirstToken)] == [FirstToken("r0", "b")]
    assert record.ttft_s == pytest.approx(0.005 + 0.001 + 0.001 + 0.010 + 0.001)


def test_after_its_first_token_it_is_lost() -> None:
    picker = Scripted(["a"], fallback_id="b")
    crash = Crash(endpoint_id="a", at_s=1.025)
    (record,) = run_with(picker, [a_request(1.0, output=5)], crash).records
    assert (record.fate, record.retries, record.reason) == (Fate.FAILED, 0, "engine lost")
    assert [event for _, event in picker.saw(Failed)] == [Failed("r0")]
    assert not picker.saw(Finished)


def test_what_left_the_engine_before_the_crash_still_arrives() -> None:
    crash = Crash(endpoint_id="a", at_s=1.0515)
    (record,) = run_with(Scripted(["a"]), [a_request(1.0, output=5)], crash).records
    assert record.fate is Fate.FINISHED


def test_without_a_fallback_a_dead_endpoint_fails_the_request() -> None:
    crash = Crash(endpoint_id="a", at_s=0.5)
    (record,) = run_with(Scripted(["a"]), [a_request(1.0)], crash).records
    assert (record.fate, record.retries) == (Fate.FAILED, 0)


def test_a_retry_is_not_retried() -> None:
    crashes = (Crash(endpoint_id="a", at_s=0.5), Crash(endpoint_id="b", at_s=0.5))
    (record,) = run_with(Scripted(["a"], fallback_id="b"), [a_request(1.0)], *crashes).records
    assert (record.fate, record.retries) == (Fate.FAILED, 1)


def test_scrapes_of_a_dead_engine_are_refused_until_it_is_back_with_an_empty_cache() -> None:
    picker = Scripted(["a", "b"], fallback_id="b")
    crash = Crash(endpoint_id="a", at_s=2.0, down_s=2.0)
    requests = [a_request(float(t), text="x") for t in (0, 1)] + [
        a_request(5.0, text="x"),
        a_request(6.0, text="x"),
    ]
    picker.endpoints = ["a", "a", "a", "a"]
    records = run_with(picker, requests, crash, kv_events=True).records
    states = [
        (now, type(event))
        for now, event in picker.seen
        if isinstance(event, Scraped | Unreachable) and event.endpoint_id == "a"
    ]
    for now, kind in states:
        assert kind is (Unreachable if 2.0 < now - 0.005 < 4.0 else Scraped)
    assert {kind for _, kind in states} == {Scraped, Unreachable}
    assert [record.cached_tokens for record in records] == [0, 96, 0, 96]
    assert [event for _, event in picker.saw(CacheCleared)] == [CacheCleared("a")]


def test_a_straggler_is_slow_for_a_while_and_then_itself_again() -> None:
    straggler = Straggler(endpoint_id="a", at_s=1.0, for_s=1.0, factor=3.0)
    requests = [a_request(t) for t in (0.5, 1.5, 2.5)]
    records = run_with(Scripted(["a"]), requests, straggler).records
    assert [record.ttft_s for record in records] == pytest.approx([0.012, 0.032, 0.012])


def test_a_draining_endpoint_is_declared_then_removed_and_finishes_what_it_holds() -> None:
    picker = Scripted(["a", "b"])
    drain = Drain(endpoint_id="a", at_s=1.0, grace_s=5.0)
    requests = [a_request(0.5, output=100), a_request(10.0)]
    first, _ = run_with(picker, requests, drain).records
    assert first.fate is Fate.FINISHED
    states = {
        now: {e.endpoint_id: e.state for e in fleet.pools[0].endpoints}
        for now, fleet in picker.fleets
    }
    assert states[1.5] == {"a": EndpointState.DRAINING, "b": EndpointState.READY}
    assert states[6.5] == {"b": EndpointState.READY}


def test_what_outlives_the_grace_period_is_lost() -> None:
    drain = Drain(endpoint_id="a", at_s=1.0, grace_s=0.5)
    (record,) = run_with(Scripted(["a"]), [a_request(0.5, output=300)], drain).records
    assert record.fate is Fate.FAILED


def test_an_endpoint_that_joins_is_known_once_it_has_started() -> None:
    picker = Scripted(["a", "b"])
    join = Join(endpoint_id="b", at_s=1.0, start_s=2.0)
    requests = [a_request(0.5), a_request(4.0)]
    records = run_with(picker, requests, join).records
    known = {now: [e.endpoint_id for e in f.pools[0].endpoints] for now, f in picker.fleets}
    assert known[0.0] == ["a"]
    assert known[3.5] == ["a", "b"]
    assert [record.fate for record in records] == [Fate.FINISHED] * 2


class HoldsAll(Scripted):
    """A router that never lets go."""

    def place(self, request, now):  # type: ignore[no-untyped-def]
        super().place(request, now)
        return Waits(request.request_id)


def test_a_router_restart_loses_its_state_and_the_gateway_goes_on_without_it() -> None:
    pickers: list[Scripted] = []

    def make(replica: int, starts: int) -> Picker:
        pickers.append(HoldsAll(["a"]) if starts == 0 else Scripted(["b"]))
        return pickers[-1]

    restart = RouterRestart(replica=0, at_s=1.0, down_s=1.0)
    world = World(
        fleet=a_fleet(["a", "b"]),
        engines={name: an_engine() for name in ("a", "b")},
        traffic=OpenLoop([a_request(t) for t in (0.5, 1.5, 2.5)]),
        make_picker=make,
        setting=replace(QUIET, faults=(restart,)),
    )
    held, meanwhile, after = world.run().records
    assert (held.sent_ns, held.failed_open) == (1_000_000_000, True)
    assert (meanwhile.sent_ns, meanwhile.failed_open) == (1_500_000_000, True)
    assert (after.endpoint_id, after.failed_open) == ("b", False)
    assert all(r.fate is Fate.FINISHED for r in (held, meanwhile, after))
    old, new = pickers
    assert [fleet for _, fleet in new.fleets][-1] == old.fleets[-1][1]
    assert {event.request_id for _, event in new.saw(Finished)} == {"r2"}  # type: ignore[union-attr]


def test_each_replica_sees_only_its_own_requests_and_all_scrapes() -> None:
    pickers = [Scripted(["a"]) for _ in range(3)]
    setting = replace(QUIET, replicas=3)
    run = World(
        fleet=a_fleet(["a"]),
        engines={"a": an_engine()},
        traffic=OpenLoop([a_request(0.01 * i) for i in range(300)]),
        make_picker=lambda replica, starts: pickers[replica],
        setting=setting,
    ).run()
    for number, picker in enumerate(pickers):
        own = [record.request_id for record in run.records if record.replica == number]
        assert [request.request_id for _, request in picker.requests] == own
        assert 60 <= len(own) <= 140
        assert picker.saw(Scraped)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Crash(endpoint_id="z", at_s=1.0), "'z'; there are a, b"),
        (RouterRestart(replica=1, at_s=1.0), "replica 1; there are 1"),
    ],
)
def test_a_fault_about_what_there_is_not_is_refused(fault: Fault, message: str) -> None:
    with pytest.raises(InvalidScenario, match=message):
        run_with(Scripted(["a"]), [], fault)


def test_restarts_that_overlap_are_one() -> None:
    starts: list[int] = []

    def make(replica: int, start: int) -> Picker:
        starts.append(start)
        return Scripted(["a"])

    restarts = (RouterRestart(replica=0, at_s=1.0), RouterRestart(replica=0, at_s=1.5))
    run = World(
        fleet=a_fleet(["a"]),
        engines={"a": an_engine()},
        traffic=OpenLoop([a_request(0.5 * t) for t in range(8)]),
        make_picker=make,
        setting=replace(QUIET, faults=restarts),
    ).run()
    assert starts == [0, 1]
    assert {record.fate for record in run.records} == {Fate.FINISHED}
