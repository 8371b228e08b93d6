"""The live shell and the simulator's take the same decisions: one log, replayed through the other.

Recorded are the calls that `headway_router.dispatch.Dispatcher` makes to its core, with their times
and outcomes.  Replayed through the simulator's adapter, a fresh core answers each of them alike, to
the last predicted second of every candidate.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from headway_core.events import Event, Finished, FirstToken, Scraped, UsageReported
from headway_core.facts import Endpoint, EngineView, InferenceRequest, Slo
from headway_core.outcomes import Held, Outcome, Placed, Shed
from headway_core.policy import Fleet, FlowControl, Policy, Pool, QueueOrder, SloClass
from headway_core.recording import Call, Recorded
from headway_core.router import Router
from headway_router.decision_log import DecisionLog
from headway_router.dispatch import Dispatcher
from headway_router.metrics import Metrics
from headway_sim.decision_log import Start, differences, read, replay
from headway_sim.pickers import Answer, Picker, ProductionPicker, Refused, Sent, Waits
from headway_sim.traffic import OpenLoop
from headway_sim.world.setting import (
    Crash,
    Drain,
    FirstTokens,
    Join,
    KvEvents,
    Observation,
    Scrapes,
    Setting,
)
from headway_sim.world.testing import a_fleet, a_request, an_engine, steps_of
from headway_sim.world.world import Run, World

SEED = "parity"


def as_answer(outcome: Outcome) -> Answer:
    match outcome:
        case Placed():
            return Sent(
                outcome.request_id,
                outcome.decision.endpoint_id,
                outcome.fallback_id,
                outcome.vllm_priority or 0,
                outcome.decision,
            )
        case Held():
            return Waits(outcome.request_id)
        case Shed():
            return Refused(outcome.request_id, outcome.reason.value)


class LiveShell:
    """The dispatcher as a picker, its clock set by the world: the live shell in simulated time."""

    def __init__(self) -> None:
        self.log: list[Call] = []
        self.core = Recorded(Random(SEED), self.log.append)
        self._now = 0.0
        self._settled: list[Answer] = []
        self._dispatcher = Dispatcher(self.core, Metrics(), lambda: self._now)

    def apply(self, fleet: Fleet, now: float) -> Sequence[Answer]:
        self._now = now
        self._dispatcher.apply(fleet)
        return self._take()

    def place(self, request: InferenceRequest, now: float) -> Answer:
        self._now = now
        return as_answer(self._dispatcher.place(request, self._settle))

    def observe(self, event: Event, now: float) -> Sequence[Answer]:
        self._now = now
        self._dispatcher.observe(event)
        return self._take()

    def tick(self, now: float) -> Sequence[Answer]:
        self._now = now
        self._dispatcher.tick()
        return self._take()

    def next_deadline(self) -> float | None:
        return self.core.next_deadline()

    def _settle(self, outcome: Outcome) -> None:
        self._settled.append(as_answer(outcome))

    def _take(self) -> Sequence[Answer]:
        settled, self._settled = self._settled, []
        return settled


NAMES = ["a", "b", "c", "d"]


def a_policy(order: QueueOrder) -> Policy:
    return Policy(
        flow_control=FlowControl(order=order, max_queued_requests=20, queue_timeout_s=1.0),
        slo_classes=(SloClass(name="x", sheddable=True),),
        content_hash="p",
    )


def run_world(picker: Picker, policy: Policy, observation: Observation) -> Run:
    """An overloaded pool whose endpoints come, go and die."""
    requests = [
        a_request(0.02 * i, prompt=600 + 150 * (i % 13), output=1 + i % 7, text=f"text {i % 17}")
        for i in range(400)
    ]
    return World(
        fleet=a_fleet(NAMES, slo=Slo(ttft_s=0.5), policy=policy, prefill_tokens_per_s=8000.0),
        engines={
            name: an_engine(seats=4, model=steps_of(0.008, 0.0004), asynchronous=True)
            for name in NAMES
        },
        traffic=OpenLoop(requests),
        make_picker=lambda replica, starts: picker,
        setting=Setting(
            seed=3,
            observation=observation,
            faults=(
                Crash(endpoint_id="a", at_s=2.0, down_s=1.0),
                Join(endpoint_id="b", at_s=1.0),
                Drain(endpoint_id="c", at_s=4.0, grace_s=1.0),
            ),
        ),
    ).run()


@pytest.mark.parametrize("order", [QueueOrder.TRIAGE, QueueOrder.HIT_FIRST])
@pytest.mark.parametrize(
    "observation",
    [
        pytest.param(
            Observation(kv_events=KvEvents(), sampled_share=0.2, block_tokens=64), id="sees all"
        ),
        pytest.param(
            Observation(
                first_tokens=FirstTokens.SAMPLED,
                scrapes=Scrapes(interval_s=1.0, loss=0.3),
                block_tokens=64,
            ),
            id="sees little",
        ),
        pytest.param(Observation(sampled_streams=2, block_tokens=64), id="reads two at a time"),
    ],
)
def test_a_log_of_the_dispatcher_replayed_through_the_simulator_gives_the_same_decisions(
    order: QueueOrder, observation: Observation
) -> None:
    shell, policy = LiveShell(), a_policy(order)
    live = run_world(shell, policy, observation)
    log = shell.log
    assert differences(SEED, log) == []
    kinds = {type(as_answer(outcome)) for call in log for outcome in call.outcomes}
    assert kinds == {Sent, Waits, Refused}
    usages = sum(isinstance(call.argument, UsageReported) for call in log)
    placed = sum(isinstance(call.argument, InferenceRequest) for call in log)
    assert 0 < usages < placed / 2
    asked = {type(call.argument).__name__ for call in log}
    assert {"NoneType", "Fleet", "InferenceRequest", "Scraped", "Finished", "Failed"} <= asked
    # And a world around the adapter is the world around the dispatcher.
    assert run_world(ProductionPicker(Router(Random(SEED))), policy, observation) == live


def test_a_log_with_first_tokens_a_little_later_is_another_one() -> None:
    shell = LiveShell()
    run_world(shell, a_policy(QueueOrder.TRIAGE), Observation(block_tokens=64))
    changed = [
        replace(call, at_s=call.at_s + 0.05) if isinstance(call.argument, FirstToken) else call
        for call in shell.log
    ]
    assert differences(SEED, changed)


async def test_a_log_on_the_wall_clock_replays_alike(tmp_path: Path) -> None:
    """The dispatcher with its own timer: deadlines are met whenever the event loop gets there.

    The log is the file that ``headway router --decision-log-complete`` writes.
    """
    path, metrics = tmp_path / "decisions.jsonl", Metrics()
    decision_log = DecisionLog(str(path), is_complete=True, metrics=metrics)
    dispatcher = Dispatcher(decision_log.core, metrics, asyncio.get_running_loop().time)
    endpoints = tuple(Endpoint(endpoint_id=name, name=name) for name in ("a", "b"))
    policy = Policy(flow_control=FlowControl(queue_timeout_s=0.2))
    pool = Pool(name="default/m", model="m", endpoints=endpoints, policy=policy)
    waiting: set[str] = set()
    all_settled = asyncio.Event()

    def settle(outcome: Outcome) -> None:
        waiting.discard(outcome.request_id)
        if isinstance(outcome, Placed):
            dispatcher.observe(FirstToken(outcome.request_id, outcome.decision.endpoint_id))
            dispatcher.observe(Finished(outcome.request_id))
        if not waiting:
            all_settled.set()

    async def drive() -> None:
        dispatcher.apply(Fleet(pools=(pool,)))
        dispatcher.observe(Scraped("a", EngineView(waiting=1, running=2)))
        for number in range(40):
            request = InferenceRequest(
                request_id=f"r{number}",
                requested_model="m",
                prompt_tokens=1500,
                blocks=tuple(range(number % 5 * 10, number % 5 * 10 + 5)),
            )
            if isinstance(dispatcher.place(request, settle), Held):
                waiting.add(request.request_id)
        async with asyncio.timeout(20):
            await all_settled.wait()
        timer.cancel()
        writer.cancel()

    async with asyncio.TaskGroup() as group:
        timer = group.create_task(dispatcher.run())
        writer = group.create_task(decision_log.run())
        group.create_task(drive())
    start, *calls = read(path)
    assert isinstance(start, Start) and start.is_complete
    outcomes = [o for call in calls if isinstance(call, Call) for o in call.outcomes]
    assert {type(outcome) for outcome in outcomes} >= {Placed, Held}
    assert any(isinstance(call, Call) and call.argument is None for call in calls)
    assert replay(path) == (len(calls), [])
