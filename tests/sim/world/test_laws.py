"""What holds in every run: conservation, Little's law, and the same result from the same seed."""

import subprocess
import sys
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway_core.facts import Slo
from headway_core.router import Router
from headway_sim.baselines import BASELINES
from headway_sim.errors import BrokenLaw
from headway_sim.pickers import Picker, ProductionPicker
from headway_sim.traffic import FixedConcurrency, OpenLoop, Traffic
from headway_sim.world.laws import Census
from headway_sim.world.records import Fate, RequestRecord
from headway_sim.world.setting import (
    Crash,
    Drain,
    Fault,
    FirstTokens,
    Join,
    KvEvents,
    Observation,
    RouterRestart,
    Scrapes,
    Setting,
    Straggler,
)
from headway_sim.world.testing import a_fleet, a_request, an_engine
from headway_sim.world.world import Run, World

NAMES = ["a", "b", "c"]
PRODUCTION = "headway"
TIMES = st.floats(0.0, 5.0).map(lambda t: round(t, 3))
ENDPOINTS = st.sampled_from(NAMES)
FAULTS = st.one_of(
    st.builds(Crash, endpoint_id=ENDPOINTS, at_s=TIMES, down_s=st.none() | TIMES),
    st.builds(Straggler, endpoint_id=ENDPOINTS, at_s=TIMES, for_s=TIMES, factor=st.just(4.0)),
    st.builds(Drain, endpoint_id=ENDPOINTS, at_s=TIMES, grace_s=TIMES),
    st.builds(Join, endpoint_id=ENDPOINTS, at_s=TIMES, start_s=TIMES),
    st.builds(RouterRestart, replica=st.integers(0, 1), at_s=TIMES, down_s=TIMES),
)


def a_picker(policy: str, replica: int, starts: int, mode: FirstTokens) -> Picker:
    rng = Random(f"{replica}/{starts}")
    if policy == PRODUCTION:
        return ProductionPicker(Router(rng))
    sees = mode is FirstTokens.TAP
    return BASELINES[policy].picker(rng, sees_first_tokens=sees, parameters={})


def run_once(
    policy: str,
    setting: Setting,
    *,
    requests: int = 120,
    closed: bool = False,
    until_s: float | None = None,
) -> Run:
    workload = [
        a_request(0.02 * i, prompt=300 + 37 * (i % 11), output=1 + i % 13, text=f"text {i % 9}")
        for i in range(requests)
    ]
    traffic: Traffic = OpenLoop(workload)
    if closed:
        traffic = FixedConcurrency(workload, 9, 0.05, Random(3))
    mode = setting.observation.first_tokens
    return World(
        fleet=a_fleet(NAMES, slo=Slo(ttft_s=0.2)),
        engines={name: an_engine(seats=3, asynchronous=True) for name in NAMES},
        traffic=traffic,
        make_picker=lambda replica, starts: a_picker(policy, replica, starts, mode),
        setting=setting,
    ).run(until_s)


@pytest.mark.slow
@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    policy=st.sampled_from([PRODUCTION, PRODUCTION, "dualmap", "round-robin", "kthena"]),
    faults=st.lists(FAULTS, max_size=4).map(tuple),
    mode=st.sampled_from(FirstTokens),
    loss=st.sampled_from([0.0, 0.5]),
    closed=st.booleans(),
    until_s=st.none() | TIMES,
)
def test_every_request_is_accounted_for_whatever_breaks(
    policy: str,
    faults: tuple[Fault, ...],
    mode: FirstTokens,
    loss: float,
    closed: bool,
    until_s: float | None,
) -> None:
    observation = Observation(
        scrapes=Scrapes(interval_s=0.2, loss=loss),
        first_tokens=mode,
        sampled_share=0.1,
        kv_events=KvEvents(loss=loss),
    )
    setting = Setting(seed=1, replicas=2, observation=observation, faults=faults)
    run = run_once(policy, setting, closed=closed, until_s=until_s)
    in_flight = [record for record in run.records if record.fate is Fate.IN_FLIGHT]
    assert in_flight == [] or until_s is not None
    for record in run.records:
        assert (record.reason is None) is (record.fate in (Fate.FINISHED, Fate.IN_FLIGHT))


@pytest.mark.parametrize("policy", [PRODUCTION, *BASELINES])
def test_every_policy_serves_everybody_when_nothing_breaks(policy: str) -> None:
    run = run_once(policy, Setting(replicas=2))
    assert {record.fate for record in run.records} == {Fate.FINISHED}
    assert {record.endpoint_id for record in run.records} == set(NAMES)


@pytest.mark.parametrize("policy", ["dualmap", "dualmap-no-rebalance"])
def test_a_held_queue_moves_on_without_first_tokens(policy: str) -> None:
    observation = Observation(first_tokens=FirstTokens.ABSENT)
    run = run_once(policy, Setting(observation=observation))
    assert {record.fate for record in run.records} == {Fate.FINISHED}
    assert any(record.was_held for record in run.records)


def test_a_census_that_does_not_agree_with_the_records_is_an_error() -> None:
    census = Census()
    census.enter(0)
    census.leave(Fate.FINISHED, 10)
    record = RequestRecord(
        number=0,
        arrived_ns=0,
        prompt_tokens=1,
        estimated_tokens=1,
        output_tokens=1,
        session=None,
        replica=0,
        fate=Fate.FINISHED,
        sent_ns=0,
        first_token_ns=5,
        ended_ns=10,
    )
    census.check([record], 10)
    with pytest.raises(BrokenLaw, match="arrived"):
        census.check([record, record], 10)
    with pytest.raises(BrokenLaw, match="sojourn times 9"):
        census.check([replace(record, arrived_ns=1, sent_ns=1)], 10)
    with pytest.raises(BrokenLaw, match="back in time"):
        census.check([replace(record, first_token_ns=11)], 10)
    with pytest.raises(BrokenLaw, match="the census"):
        census.check([replace(record, fate=Fate.SHED)], 10)


def test_the_same_seed_gives_the_same_records_and_another_does_not() -> None:
    observation = Observation(first_tokens=FirstTokens.SAMPLED, sampled_share=0.5)
    setting = Setting(seed=4, replicas=2, observation=observation)
    first, again = (run_once(PRODUCTION, setting) for _ in range(2))
    assert first == again
    assert run_once(PRODUCTION, replace(setting, seed=5)) != first


def test_a_request_is_the_same_for_every_policy() -> None:
    runs = [run_once(policy, Setting(seed=2)) for policy in (PRODUCTION, "round-robin")]
    facts = [
        [(r.arrived_ns, r.prompt_tokens, r.estimated_tokens, r.replica) for r in run.records]
        for run in runs
    ]
    assert facts[0] == facts[1]


PROGRAM = """
from headway_sim.baselines import BASELINES
import importlib.util, sys
spec = importlib.util.spec_from_file_location("laws", sys.argv[1])
laws = importlib.util.module_from_spec(spec)
spec.loader.exec_module(laws)
for policy in (laws.PRODUCTION, "dualmap", "chwbl", "sglang"):
    print(laws.run_once(policy, laws.Setting(seed=9, replicas=2)))
"""


@pytest.mark.slow
def test_the_result_does_not_depend_on_the_process() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM, __file__],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "4242")
    }
    assert len(outputs) == 1
    assert outputs.pop().count(b"RequestRecord") == 480
