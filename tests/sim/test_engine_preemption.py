"""What happens when running requests need more blocks than there are."""

from itertools import pairwise
from typing import Any

import pytest

from headway_sim.engine import (
    Engine,
    EngineConfig,
    EngineEvent,
    FinishReason,
    KvRemoved,
    Preempted,
    RequestFinished,
    Scheduled,
    SchedulingPolicy,
    TokenEmitted,
)
from headway_sim.testing import MS, RecordedSteps, a_request, run_to_end


def _engine(steps: RecordedSteps, **settings: Any) -> Engine:
    defaults: dict[str, Any] = {
        "num_blocks": 11,
        "max_num_seqs": 8,
        "max_num_batched_tokens": 512,
        "max_model_len": 160,
        "async_scheduling": False,
    }
    return Engine(EngineConfig(**(defaults | settings)), steps)


def _life(events: list[EngineEvent]) -> list[tuple[str, str, int]]:
    """What happened to whom, and when in ms, tokens and cache events left out."""
    return [
        (type(e).__name__, e.request_id, e.at_ns // MS)
        for e in events
        if isinstance(e, Scheduled | Preempted | RequestFinished)
    ]


def test_the_request_admitted_last_gives_way_and_returns_before_all_that_wait() -> None:
    # 10 blocks: "a", "b" and "c" hold 3 each, one is left.  Each prompt fills its 48 tokens, so
    # all of them ask for a fourth block with their first decode: "a" gets it, "b" preempts "c".
    engine = _engine(RecordedSteps())
    for name in "abc":
        engine.submit(a_request(name, 48, 4), 0)
    engine.submit(a_request("d", 48, 1), 5 * MS)
    events = run_to_end(engine)
    assert _life(events) == [
        ("Scheduled", "a", 0),
        ("Scheduled", "b", 0),
        ("Scheduled", "c", 0),
        ("Preempted", "c", 10),
        ("RequestFinished", "a", 40),
        ("RequestFinished", "b", 40),
        ("Scheduled", "c", 40),
        ("Scheduled", "d", 40),
        ("RequestFinished", "d", 50),
        ("RequestFinished", "c", 70),
    ]
    assert engine.stats().preemptions == 1


def test_a_preempted_request_prefills_its_output_too_and_hits_its_own_blocks() -> None:
    steps = RecordedSteps()
    engine = _engine(steps)
    for name in "abc":
        engine.submit(a_request(name, 48, 4), 0)
    events = run_to_end(engine)
    # "b" took one of c's blocks, the last one; c's other two are still there: 32 tokens.  With
    # its first output token it has 49 to compute.
    assert Scheduled("c", 40 * MS, 32, resumed=True) in events
    assert [e for e in events if isinstance(e, KvRemoved)] != []
    assert steps.prefill_chunks[4] == [(17, 32)]
    # The look-up of a resumed request is not counted.
    assert engine.stats().prefix_queries == 3 * 48
    assert engine.stats().prefix_hits == 0


@pytest.mark.parametrize("async_scheduling", [True, False])
def test_preemption_costs_time_but_no_token(async_scheduling: bool) -> None:
    engine = _engine(RecordedSteps(), async_scheduling=async_scheduling)
    for name in "abc":
        engine.submit(a_request(name, 48, 30), 0)
    events = run_to_end(engine)
    assert engine.stats().preemptions > 0
    for name in "abc":
        tokens = [e for e in events if isinstance(e, TokenEmitted) and e.request_id == name]
        assert [e.index for e in tokens] == list(range(30))
        assert all(earlier.at_ns < later.at_ns for earlier, later in pairwise(tokens))


def test_a_request_preempted_with_a_token_in_flight_still_gets_it() -> None:
    # As above, but each batch is composed while the one before it runs.  The first decodes are
    # composed at 0, when every first token is in flight.  "c" finds its blocks at 40.
    engine = _engine(RecordedSteps(), async_scheduling=True)
    for name in "abc":
        engine.submit(a_request(name, 48, 4), 0)
    events = run_to_end(engine)
    assert Preempted("c", 0) in events
    tokens = [e for e in events if isinstance(e, TokenEmitted) and e.request_id == "c"]
    assert [e.at_ns // MS for e in tokens] == [10, 50, 60, 70]


def test_recomputed_output_is_prefill_wherever_the_chunk_begins() -> None:
    # 6 blocks, nothing cached.  "b" gives way with 20 + 13 tokens; with a budget of 24 the second
    # chunk that brings it back begins behind its prompt.
    steps = RecordedSteps()
    engine = _engine(
        steps, num_blocks=7, max_model_len=96, max_num_batched_tokens=24, prefix_caching=False
    )
    engine.submit(a_request("a", 40, 30), 0)
    engine.submit(a_request("b", 20, 30), 0)
    run_to_end(engine)
    assert engine.stats().preemptions == 1
    assert steps.prefill_chunks.count([(24, 0)]) == 2
    resumed = steps.prefill_chunks.index([(24, 0)], 1)
    assert steps.prefill_chunks[resumed + 1] == [(9, 24)]


def test_a_request_can_end_while_it_is_preempted() -> None:
    engine = _engine(RecordedSteps(), async_scheduling=True)
    engine.submit(a_request("a", 48, 4), 0)
    engine.submit(a_request("b", 48, 4), 0)
    engine.submit(a_request("c", 48, 1, finish_reason=FinishReason.STOP), 0)
    events = run_to_end(engine)
    assert Preempted("c", 0) in events
    assert RequestFinished("c", 10 * MS, FinishReason.STOP, 1) in events
    assert not [e for e in events if isinstance(e, Scheduled) and e.resumed]


def test_the_last_one_running_preempts_itself_and_starts_again() -> None:
    # "a" and "b" hold 5 of the 10 blocks each.  "a" asks for a sixth first and takes b's.
    engine = _engine(RecordedSteps())
    engine.submit(a_request("a", 79, 3), 0)
    engine.submit(a_request("b", 80, 3), 0)
    events = run_to_end(engine)
    # At 10 ms "a" still has room for its token; "b" has not, and is the last.
    assert _life(events)[2:5] == [
        ("Preempted", "b", 10),
        ("RequestFinished", "a", 30),
        ("Scheduled", "b", 30),
    ]


def test_nobody_is_admitted_by_a_call_that_preempted() -> None:
    # At 10 ms "b" preempts itself, which leaves a seat and 5 blocks to "urgent": one call later.
    engine = _engine(RecordedSteps(), max_num_seqs=2, policy=SchedulingPolicy.PRIORITY)
    engine.submit(a_request("a", 79, 3), 0)
    engine.submit(a_request("b", 80, 3, priority=5), 0)
    engine.submit(a_request("urgent", 8, 1, priority=-1), 5 * MS)
    assert _life(run_to_end(engine))[2:4] == [
        ("Preempted", "b", 10),
        ("Scheduled", "urgent", 20),
    ]


def test_under_the_priority_policy_the_least_urgent_gives_way_wherever_it_stands() -> None:
    engine = _engine(RecordedSteps(), policy=SchedulingPolicy.PRIORITY)
    engine.submit(a_request("a", 48, 4, priority=5), 0)
    engine.submit(a_request("b", 48, 4, priority=0), 1 * MS)
    engine.submit(a_request("c", 48, 4, priority=0), 2 * MS)
    events = run_to_end(engine)
    # "a" runs first and alone; "b" and "c" join at 10.  At 20 they ask for a fourth block each.
    assert _life(events)[:4] == [
        ("Scheduled", "a", 0),
        ("Scheduled", "b", 10),
        ("Scheduled", "c", 10),
        ("Preempted", "a", 20),
    ]


def test_a_victim_that_was_scheduled_already_gives_its_tokens_back() -> None:
    # At 20 "a" decodes first; its token leaves the batch with it when "b" or "c" preempts it.
    steps = RecordedSteps()
    engine = _engine(steps, policy=SchedulingPolicy.PRIORITY)
    engine.submit(a_request("a", 46, 4, priority=5), 0)
    engine.submit(a_request("b", 48, 4, priority=0), 1 * MS)
    engine.submit(a_request("c", 48, 4, priority=0), 2 * MS)
    run_to_end(engine)
    assert steps.decodes[:3] == [0, 1, 2]


def test_a_victim_before_the_one_that_asks_leaves_its_tokens_to_those_behind() -> None:
    # 5 blocks, budget 20.  At 30 ms "a" is given its token; "b" needs a second block and takes it
    # from "a".  The chunk of "c" is what "b" leaves of the whole budget.
    steps = RecordedSteps()
    engine = _engine(
        steps,
        num_blocks=6,
        max_model_len=80,
        max_num_batched_tokens=20,
        policy=SchedulingPolicy.PRIORITY,
        reserve_full_prompt=False,
    )
    engine.submit(a_request("a", 17, 9, priority=5), 0)
    engine.submit(a_request("b", 15, 9), 5 * MS)
    engine.submit(a_request("c", 60, 9), 15 * MS)
    events = run_to_end(engine)
    assert Preempted("a", 30 * MS) in events
    assert steps.prefill_chunks[:4] == [[(17, 0)], [(15, 0)], [(18, 0)], [(19, 18)]]


def test_one_that_preempts_itself_by_priority_lets_those_behind_it_go_on() -> None:
    # 11 blocks.  At 20 ms "a" asks for a sixth, finds none and is the least urgent; "b" stands
    # behind it, has room for its token, and decodes in the same step as "front".
    steps = RecordedSteps()
    engine = _engine(steps, num_blocks=12, policy=SchedulingPolicy.PRIORITY)
    engine.submit(a_request("front", 4, 8), 0)
    engine.submit(a_request("a", 79, 6, priority=5), 0)
    engine.submit(a_request("b", 78, 6), 5 * MS)
    events = run_to_end(engine)
    assert _life(events)[:4] == [
        ("Scheduled", "front", 0),
        ("Scheduled", "a", 0),
        ("Scheduled", "b", 10),
        ("Preempted", "a", 20),
    ]
    assert steps.decodes[:3] == [0, 2, 2]


@pytest.mark.parametrize("async_scheduling", [True, False])
def test_under_kv_pressure_requests_wait_and_are_preempted_but_all_end(
    async_scheduling: bool,
) -> None:
    """The recorded scenario: 6 running, 5 waiting for blocks, usage 0.94, 3 preemptions."""
    engine = _engine(
        RecordedSteps(),
        block_tokens=32,
        num_blocks=200,
        max_num_batched_tokens=512,
        max_model_len=2048,
        async_scheduling=async_scheduling,
    )
    for number in range(12):
        engine.submit(a_request(f"r{number}", 700, 500, block_tokens=32), number)
    events = []
    seen = []
    while (at_ns := engine.next_event_ns()) is not None:
        events += engine.advance(at_ns)
        stats = engine.stats()
        seen.append((stats.running, stats.waiting_capacity, round(stats.kv_usage, 2)))
    finished = [e for e in events if isinstance(e, RequestFinished)]
    assert {e.request_id for e in finished} == {f"r{number}" for number in range(12)}
    assert {(e.reason, e.output_tokens) for e in finished} == {(FinishReason.LENGTH, 500)}
    assert engine.stats().preemptions >= 3
    assert max(running for running, _, _ in seen) == 8
    assert any(running == 6 and usage >= 0.94 for running, _, usage in seen)
    assert [e for e in events if isinstance(e, KvRemoved)] != []
    # Some find blocks of their own when they return.
    assert any(e.cached_tokens > 0 for e in events if isinstance(e, Scheduled) and e.resumed)
