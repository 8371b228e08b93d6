"""Who is admitted, and how many tokens of whom a step computes."""

from typing import Any

import pytest

from headway_sim.engine import (
    Engine,
    EngineConfig,
    EngineEvent,
    RequestFinished,
    Scheduled,
    SchedulingPolicy,
)
from headway_sim.testing import MS, RecordedSteps, a_request, run_to_end


def _engine(steps: RecordedSteps, **settings: Any) -> Engine:
    defaults: dict[str, Any] = {
        "num_blocks": 1001,
        "max_num_seqs": 8,
        "max_num_batched_tokens": 512,
        "max_model_len": 2048,
    }
    return Engine(EngineConfig(**(defaults | settings)), steps)


def _admitted_ms(events: list[EngineEvent]) -> dict[str, int]:
    """When each request was scheduled for the first time."""
    return {
        e.request_id: e.at_ns // MS for e in events if isinstance(e, Scheduled) and not e.resumed
    }


def test_a_prompt_beyond_the_budget_is_computed_in_chunks() -> None:
    steps = RecordedSteps()
    engine = _engine(steps)
    engine.submit(a_request("a", 1200), 0)
    run_to_end(engine)
    assert steps.prefill_chunks == [[(512, 0)], [(512, 512)], [(176, 1024)]]


def test_a_chunk_leaves_the_rest_of_the_budget_to_the_next_request() -> None:
    steps = RecordedSteps()
    engine = _engine(steps)
    engine.submit(a_request("a", 600), 0)
    engine.submit(a_request("b", 600), 0)
    run_to_end(engine)
    assert steps.prefill_chunks == [[(512, 0)], [(88, 512), (424, 0)], [(176, 424)]]


def test_running_requests_take_their_tokens_before_a_prefill_gets_the_rest() -> None:
    steps = RecordedSteps()
    engine = _engine(steps)
    engine.submit(a_request("a", 40, 20), 0)
    engine.submit(a_request("b", 40, 20), 0)
    engine.submit(a_request("long", 1000), 20 * MS)
    run_to_end(engine)
    # Steps 0..10, 10..20 and 20..30 were composed before it came.
    assert steps.prefill_chunks[3:5] == [[(510, 0)], [(490, 510)]]
    assert steps.decodes[3:5] == [2, 2]


def test_a_request_without_blocks_holds_back_all_behind_it() -> None:
    # 10 blocks.  "a" holds 6 of them; "b" needs 6, "c" only 1.
    engine = _engine(RecordedSteps(), num_blocks=11, max_model_len=160)
    engine.submit(a_request("a", 90, 6), 0)
    engine.submit(a_request("b", 90, 2), 1 * MS)
    engine.submit(a_request("c", 8, 2), 2 * MS)
    events = run_to_end(engine)
    # "a" ends with the step 50..60, where nothing else can be composed ahead.
    assert _admitted_ms(events) == {"a": 0, "b": 60, "c": 60}


@pytest.mark.parametrize(
    ("reserve_full_prompt", "admitted_ms"),
    [
        pytest.param(True, 60, id="only when the whole prompt fits"),
        pytest.param(False, 10, id="as soon as its first chunk fits, before 0.32"),
    ],
)
def test_a_long_prompt_is_admitted(reserve_full_prompt: bool, admitted_ms: int) -> None:
    engine = _engine(
        RecordedSteps(),
        num_blocks=11,
        max_model_len=160,
        max_num_batched_tokens=48,
        reserve_full_prompt=reserve_full_prompt,
    )
    engine.submit(a_request("a", 48, 6), 0)
    engine.submit(a_request("long", 124, 2), 1 * MS)  # 8 blocks; "a" takes 3, then 4
    assert _admitted_ms(run_to_end(engine))["long"] == admitted_ms


def test_no_more_requests_run_than_there_are_seats() -> None:
    engine = _engine(RecordedSteps(), max_num_seqs=2)
    for name in "abc":
        engine.submit(a_request(name, 40, 3), 0)
    assert engine.advance(5 * MS)
    assert (engine.stats().running, engine.stats().waiting_capacity) == (2, 1)
    # The seats are free at 30 ms; the batch of the step 30..40 was composed before and is empty.
    assert _admitted_ms(run_to_end(engine)) == {"c": 30}


def test_one_long_prefill_may_take_no_more_than_the_threshold() -> None:
    steps = RecordedSteps()
    engine = _engine(steps, long_prefill_threshold=100)
    engine.submit(a_request("a", 250), 0)
    engine.submit(a_request("b", 30, 4), 0)
    run_to_end(engine)
    assert steps.prefill_chunks[:3] == [[(100, 0), (30, 0)], [(100, 100)], [(50, 200)]]


def test_the_threshold_does_not_bind_a_request_that_is_alone() -> None:
    steps = RecordedSteps()
    engine = _engine(steps, long_prefill_threshold=100)
    engine.submit(a_request("a", 250), 0)
    run_to_end(engine)
    assert steps.prefill_chunks == [[(250, 0)]]


def test_under_the_priority_policy_the_most_urgent_goes_first_then_the_earliest() -> None:
    engine = _engine(RecordedSteps(), max_num_seqs=1, policy=SchedulingPolicy.PRIORITY)
    engine.submit(a_request("running", 40, 3), 0)
    engine.submit(a_request("late", 40, priority=10), 1 * MS)
    engine.submit(a_request("later", 40, priority=10), 2 * MS)
    engine.submit(a_request("urgent", 40, priority=-10), 3 * MS)
    finished = [e.request_id for e in run_to_end(engine) if isinstance(e, RequestFinished)]
    assert finished == ["running", "urgent", "late", "later"]


def test_first_come_first_served_ignores_priority() -> None:
    engine = _engine(RecordedSteps(), max_num_seqs=1)
    engine.submit(a_request("a", 40, priority=10), 0)
    engine.submit(a_request("b", 40, priority=-10), 1 * MS)
    assert _admitted_ms(run_to_end(engine)) == {"a": 0, "b": 10}


def test_a_request_whose_adapter_has_no_slot_is_passed_over_and_keeps_its_place() -> None:
    engine = _engine(RecordedSteps(), max_loras=1)
    engine.submit(a_request("sql", 40, 4, adapter="sql"), 0)
    engine.submit(a_request("chat 1", 40, 2, adapter="chat"), 1 * MS)
    engine.submit(a_request("base", 40, 2), 2 * MS)
    engine.submit(a_request("chat 2", 40, 2, adapter="chat"), 3 * MS)
    engine.submit(a_request("sql too", 40, 2, adapter="sql"), 4 * MS)
    events = engine.advance(15 * MS)
    stats = engine.stats()
    assert (stats.running, stats.waiting_deferred, stats.waiting_capacity) == (3, 2, 0)
    assert _admitted_ms(events) == {"sql": 0, "base": 10, "sql too": 10}
    events = run_to_end(engine)
    # Both adapter requests of "sql" are gone at 40 ms.
    assert [e for e in events if isinstance(e, Scheduled)] == [
        Scheduled("chat 1", 40 * MS, 0, False),
        Scheduled("chat 2", 40 * MS, 0, False),
    ]
    assert engine.stats().waiting_deferred == 0


def test_with_slots_enough_adapters_share_a_step() -> None:
    engine = _engine(RecordedSteps(), max_loras=2)
    engine.submit(a_request("sql", 40, 4, adapter="sql"), 0)
    engine.submit(a_request("chat", 40, 4, adapter="chat"), 0)
    assert _admitted_ms(run_to_end(engine)) == {"sql": 0, "chat": 0}


def test_a_deferred_request_that_is_aborted_is_no_longer_counted() -> None:
    engine = _engine(RecordedSteps(), max_loras=1)
    engine.submit(a_request("sql", 40, 4, adapter="sql"), 0)
    engine.submit(a_request("chat", 40, 4, adapter="chat"), 0)
    engine.advance(5 * MS)
    assert engine.stats().waiting_deferred == 1
    assert engine.abort("chat", 6 * MS)
    assert engine.stats().waiting_deferred == 0
