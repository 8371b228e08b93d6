"""When an engine's steps begin and end, and who is in them: steps of 10 ms, worked by hand."""

import pytest

from headway_sim.engine import (
    Engine,
    EngineConfig,
    EngineEvent,
    FinishReason,
    KvCleared,
    KvStored,
    RequestFinished,
    Scheduled,
    TokenEmitted,
)
from headway_sim.errors import InvalidEngineRequest, TimeRanBackwards
from headway_sim.testing import MS, RecordedSteps, a_request, block_hash, run_to_end


def _engine(steps: RecordedSteps, *, async_scheduling: bool = True) -> Engine:
    config = EngineConfig(
        num_blocks=1001,
        max_num_seqs=8,
        max_num_batched_tokens=512,
        max_model_len=2048,
        async_scheduling=async_scheduling,
    )
    return Engine(config, steps)


def _token_times_ms(events: list[EngineEvent], request_id: str) -> list[int]:
    return [
        event.at_ns // MS
        for event in events
        if isinstance(event, TokenEmitted) and event.request_id == request_id
    ]


@pytest.mark.parametrize("async_scheduling", [True, False])
def test_an_idle_engine_starts_at_once_and_emits_a_token_per_step(async_scheduling: bool) -> None:
    engine = _engine(RecordedSteps(), async_scheduling=async_scheduling)
    engine.submit(a_request("a", 40, 3), 7 * MS)
    assert engine.next_event_ns() == 7 * MS
    events = run_to_end(engine)
    assert _token_times_ms(events, "a") == [17, 27, 37]
    assert events[-1] == RequestFinished("a", 37 * MS, FinishReason.LENGTH, 3)
    assert engine.stats().steps == 3


@pytest.mark.parametrize(
    ("async_scheduling", "first_token_ms"),
    [
        # Arrives at 15, in the middle of the step 10..20.  The step 20..30 is composed already.
        pytest.param(True, 40, id="2.5 steps later with asynchronous scheduling"),
        pytest.param(False, 30, id="1.5 steps later with synchronous scheduling"),
    ],
)
def test_the_first_token_of_an_arrival_in_mid_step_comes(
    async_scheduling: bool, first_token_ms: int
) -> None:
    engine = _engine(RecordedSteps(), async_scheduling=async_scheduling)
    engine.submit(a_request("running", 40, 20), 0)
    engine.submit(a_request("late", 40, 2), 15 * MS)
    events = run_to_end(engine)
    assert _token_times_ms(events, "late") == [first_token_ms, first_token_ms + 10]


def test_an_arrival_at_the_end_of_a_step_joins_the_batch_composed_then() -> None:
    engine = _engine(RecordedSteps())
    engine.submit(a_request("running", 40, 20), 0)
    engine.submit(a_request("late", 40, 2), 20 * MS)
    assert _token_times_ms(run_to_end(engine), "late") == [40, 50]


def test_an_arrival_after_the_driver_has_passed_that_end_joins_the_next_one() -> None:
    engine = _engine(RecordedSteps())
    engine.submit(a_request("running", 40, 20), 0)
    events = engine.advance(20 * MS)
    engine.submit(a_request("late", 40, 2), 20 * MS)
    events += run_to_end(engine)
    assert _token_times_ms(events, "late") == [50, 60]


def test_requests_of_one_instant_share_the_first_step_of_an_idle_engine() -> None:
    steps = RecordedSteps()
    engine = _engine(steps)
    engine.submit(a_request("a", 40), 0)
    engine.submit(a_request("b", 50), 0)
    run_to_end(engine)
    assert steps.prefill_chunks == [[(40, 0), (50, 0)]]


def test_decodes_are_priced_by_the_tokens_they_find_in_the_cache() -> None:
    steps = RecordedSteps()
    engine = _engine(steps)
    engine.submit(a_request("a", 40, 3), 0)
    engine.submit(a_request("b", 50, 2), 0)
    run_to_end(engine)
    assert steps.decodes == [0, 2, 1]
    assert steps.kv_tokens == [0, 90, 41]


def test_when_nothing_could_be_composed_ahead_an_arrival_waits_for_the_running_step_only() -> None:
    # The only request ends with the step 0..10, so the batch ahead is empty.
    engine = _engine(RecordedSteps())
    engine.submit(a_request("a", 40), 0)
    engine.submit(a_request("b", 40), 5 * MS)
    assert _token_times_ms(run_to_end(engine), "b") == [20]


@pytest.mark.parametrize(
    ("async_scheduling", "finish_reason", "steps_taken"),
    [
        pytest.param(True, FinishReason.LENGTH, 3, id="a length is foreseen"),
        pytest.param(True, FinishReason.STOP, 4, id="a stop token wastes a slot composed ahead"),
        pytest.param(False, FinishReason.STOP, 3, id="without a batch ahead there is none"),
    ],
)
def test_a_request_of_three_tokens_takes(
    async_scheduling: bool, finish_reason: FinishReason, steps_taken: int
) -> None:
    steps = RecordedSteps()
    engine = _engine(steps, async_scheduling=async_scheduling)
    engine.submit(a_request("a", 40, 3, finish_reason=finish_reason), 0)
    events = run_to_end(engine)
    assert _token_times_ms(events, "a") == [10, 20, 30]
    assert [e.reason for e in events if isinstance(e, RequestFinished)] == [finish_reason]
    assert steps.decodes == [0, 1, 1, 1][:steps_taken]
    assert engine.stats().kv_usage == 0


def test_a_stop_at_the_model_length_needs_no_foresight() -> None:
    engine = _engine(RecordedSteps())
    engine.submit(a_request("a", 2045, 3, finish_reason=FinishReason.STOP), 0)
    run_to_end(engine)
    assert engine.stats().steps == 4 + 2  # 2045 tokens in chunks of 512, then two decodes


def test_cache_events_name_blocks_of_the_step_that_still_runs() -> None:
    # 600 tokens in chunks of 512 and 88: the second is composed when the first starts.
    request = a_request("a", 600, 2)
    hashes = tuple(block_hash("a", i) for i in range(37))
    stored = {}
    for async_scheduling in (True, False):
        engine = _engine(RecordedSteps(), async_scheduling=async_scheduling)
        engine.submit(request, 0)
        stored[async_scheduling] = [e for e in run_to_end(engine) if isinstance(e, KvStored)]
    assert stored[True] == [
        KvStored("a", 10 * MS, 0, hashes[:32], None),
        KvStored("a", 10 * MS, 32, hashes[32:], hashes[31]),
    ]
    assert stored[False] == [
        KvStored("a", 10 * MS, 0, hashes[:32], None),
        KvStored("a", 20 * MS, 32, hashes[32:], hashes[31]),
    ]


@pytest.mark.parametrize("async_scheduling", [True, False])
def test_output_blocks_enter_the_cache_as_they_fill(async_scheduling: bool) -> None:
    # Of 40 + 26 tokens all but the last are computed: 65, or four blocks.
    engine = _engine(RecordedSteps(), async_scheduling=async_scheduling)
    engine.submit(a_request("a", 40, 26), 0)
    stored = [e for e in run_to_end(engine) if isinstance(e, KvStored)]
    assert [(e.first_index, len(e.hashes)) for e in stored] == [(0, 2), (2, 1), (3, 1)]
    # Block 2 holds the tokens 32..47.  Token 47 is output 7, known at 80 ms, so it is computed by
    # the step 80..90.  Likewise token 63, output 23, is known at 240 ms.
    assert [e.at_ns // MS for e in stored] == [10, 90, 250]


def test_an_abort_frees_the_blocks_at_once_while_its_step_runs_on() -> None:
    engine = _engine(RecordedSteps())
    engine.submit(a_request("a", 160, 20), 0)
    assert engine.advance(24 * MS)
    assert engine.stats().kv_usage == pytest.approx(11 / 1000)
    assert engine.abort("a", 25 * MS)
    assert engine.stats().kv_usage == 0
    assert engine.stats().running == 0
    assert run_to_end(engine) == [RequestFinished("a", 25 * MS, FinishReason.ABORT, 2)]
    # Steps 20..30 and 30..40 were composed with it.
    assert engine.stats().steps == 4
    assert not engine.abort("a", 50 * MS)


def test_a_request_can_be_aborted_before_the_engine_has_looked_at_it() -> None:
    engine = _engine(RecordedSteps())
    engine.submit(a_request("a", 40, 5), 0)
    engine.submit(a_request("b", 40, 5), 1 * MS)
    assert engine.abort("b", 2 * MS)
    events = run_to_end(engine)
    assert [e.request_id for e in events if isinstance(e, Scheduled)] == ["a"]
    assert RequestFinished("b", 2 * MS, FinishReason.ABORT, 0) in events


def test_events_left_by_another_call_are_due_at_once() -> None:
    engine = _engine(RecordedSteps())
    engine.submit(a_request("a", 40), 5 * MS)
    engine.abort("a", 5 * MS)
    assert engine.next_event_ns() == 5 * MS
    assert engine.advance(5 * MS) == [RequestFinished("a", 5 * MS, FinishReason.ABORT, 0)]
    assert engine.next_event_ns() is None


def test_an_aborted_id_can_be_used_again() -> None:
    engine = _engine(RecordedSteps())
    engine.submit(a_request("a", 40, 5), 0)
    engine.abort("a", 5 * MS)
    engine.submit(a_request("a", 40, 2), 6 * MS)
    events = run_to_end(engine)
    assert RequestFinished("a", 40 * MS, FinishReason.LENGTH, 2) in events


def test_a_late_driver_gets_every_event_at_its_own_instant() -> None:
    def events_with(stops_ms: list[int]) -> list[EngineEvent]:
        engine = _engine(RecordedSteps())
        engine.submit(a_request("a", 700, 30), 3 * MS)
        events = []
        for stop in stops_ms:
            events += engine.advance(stop * MS)
        engine.submit(a_request("b", 50, 4), 101 * MS)
        return events + engine.advance(1000 * MS)

    assert events_with([]) == events_with([4, 13, 50, 99, 100]) == events_with([100])


def test_the_cache_is_reset_only_while_idle_and_told_with_the_next_step() -> None:
    engine = _engine(RecordedSteps())
    engine.submit(a_request("a", 64), 0)
    assert engine.advance(5 * MS) == [Scheduled("a", 0, 0, False)]
    assert not engine.reset_prefix_cache(6 * MS)
    run_to_end(engine)
    assert engine.reset_prefix_cache(20 * MS)
    assert engine.advance(30 * MS) == []
    engine.submit(a_request("again", 64, content="a"), 30 * MS)
    events = run_to_end(engine)
    assert Scheduled("again", 30 * MS, 0, False) in events
    assert next(e for e in events if isinstance(e, KvCleared | KvStored)) == KvCleared(40 * MS)


def test_time_does_not_run_backwards() -> None:
    engine = _engine(RecordedSteps())
    engine.advance(10 * MS)
    for call in (
        lambda: engine.submit(a_request("a", 40), 9 * MS),
        lambda: engine.abort("a", 9 * MS),
        lambda: engine.advance(9 * MS),
        lambda: engine.reset_prefix_cache(9 * MS),
    ):
        with pytest.raises(TimeRanBackwards, match="cannot go back to 9000000 ns"):
            call()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"prompt_tokens": 0}, "prompt_tokens must be >= 1, got 0"),
        ({"output_tokens": 0}, "output_tokens must be >= 1, got 0"),
        ({"output_tokens": 2009}, r"<= max_model_len = 2048, got 40 \+ 2009"),
        ({"finish_reason": FinishReason.ABORT}, "finish_reason must be 'stop' or 'length'"),
        ({"block_tokens": 32}, "each of the prompt's 2 full blocks of 16 tokens.* got 1"),
    ],
)
def test_a_request_it_could_never_serve_is_refused(
    changes: dict[str, int | FinishReason], reason: str
) -> None:
    engine = _engine(RecordedSteps())
    arguments = {"prompt_tokens": 40, "output_tokens": 1} | changes
    with pytest.raises(InvalidEngineRequest, match=reason):
        engine.submit(a_request("a", **arguments), 0)  # type: ignore[arg-type]  # bad on purpose
    assert engine.next_event_ns() is None


def test_an_id_that_is_live_is_refused() -> None:
    engine = _engine(RecordedSteps())
    engine.submit(a_request("a", 40), 0)
    with pytest.raises(InvalidEngineRequest, match="'a': a request of this id is live already"):
        engine.submit(a_request("a", 50), 1 * MS)
    assert _token_times_ms(run_to_end(engine), "a") == [10]
