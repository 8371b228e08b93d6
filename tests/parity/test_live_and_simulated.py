"""The live shell and the simulator's take the same decisions: one log, replayed through the other.

Recorded are the calls that `headway_router.dispatch.Dispatcher` makes to its core, with their times
and outcomes.  Replayed through the simulator's adapter, a fresh core answers each of them alike, to
the last predicted second of every candidate.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import pytest

from headway_core.events import Event, Finished, FirstToken, Scraped, UsageReported
from headway_core.facts import Endpoint, EngineView, InferenceRequest, Slo
from headway_core.outcomes import Held, Outcome, Placed, Shed
from headway_core.policy import Fleet, FlowControl, Policy, Pool, QueueOrder, SloClass
from headway_core.router import Router
from headway_router.dispatch import Dispatcher
from headway_router.metrics import Metrics
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


@dataclass(frozen=True, slots=True)
class Call:
    """One call to the core; a tick has no argument."""

    now: float
    argument: Fleet | InferenceRequest | Event | None
    outcomes: tuple[Outcome, ...]


class Recorded(Router):
    """The core, with a log of what it was asked and what it answered."""

    def __init__(self) -> None:
        super().__init__(Random(SEED))
        self.log: list[Call] = []

    def apply(self, fleet: Fleet, now: float) -> Sequence[Outcome]:
        return self._keep(now, fleet, super().apply(fleet, now))

    def place(self, request: InferenceRequest, now: float) -> Outcome:
        outcome = super().place(request, now)
        self._keep(now, request, [outcome])
        return outcome

    def observe(self, event: Event, now: float) -> Sequence[Outcome]:
        return self._keep(now, event, super().observe(event, now))

    def tick(self, now: float) -> Sequence[Outcome]:
        return self._keep(now, None, super().tick(now))

    def _keep(
        self,
        now: float,
        argument: Fleet | InferenceRequest | Event | None,
        outcomes: Sequence[Outcome],
    ) -> Sequence[Outcome]:
        self.log.append(Call(now, argument, tuple(outcomes)))
        return outcomes


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


def replayed(log: Sequence[Call]) -> list[tuple[Answer, ...]]:
    """What the simulator's adapter answers to the same calls at the same times."""
    picker = ProductionPicker(Router(Random(SEED)))
    answers: list[tuple[Answer, ...]] = []
    for call in log:
        match call.argument:
            case None:
                answers.append(tuple(picker.tick(call.now)))
            case Fleet():
                answers.append(tuple(picker.apply(call.argument, call.now)))
            case InferenceRequest():
                answers.append((picker.place(call.argument, call.now),))
            case _:
                answers.append(tuple(picker.observe(call.argument, call.now)))
    return answers


class LiveShell:
    """The dispatcher as a picker, its clock set by the world: the live shell in simulated time."""

    def __init__(self) -> None:
        self.core = Recorded()
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
    log = shell.core.log
    expected = [tuple(map(as_answer, call.outcomes)) for call in log]
    assert replayed(log) == expected
    kinds = {type(answer) for answers in expected for answer in answers}
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
    log = shell.core.log
    changed = [
        replace(call, now=call.now + 0.05) if isinstance(call.argument, FirstToken) else call
        for call in log
    ]
    assert replayed(changed) != [tuple(map(as_answer, call.outcomes)) for call in log]


async def test_a_log_on_the_wall_clock_replays_alike() -> None:
    """The dispatcher with its own timer: deadlines are met whenever the event loop gets there."""
    core, loop = Recorded(), asyncio.get_running_loop()
    dispatcher = Dispatcher(core, Metrics(), loop.time)
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

    async with asyncio.TaskGroup() as group:
        timer = group.create_task(dispatcher.run())
        group.create_task(drive())
    expected = [tuple(map(as_answer, call.outcomes)) for call in core.log]
    assert any(call.argument is None for call in core.log)
    assert {type(answer) for answers in expected for answer in answers} >= {Sent, Waits}
    assert replayed(core.log) == expected
