"""What a request finds computed already, and what it leaves behind."""

from dataclasses import replace

import pytest

from headway_sim.engine import Engine, EngineConfig, EngineEvent, KvRemoved, KvStored, Scheduled
from headway_sim.testing import MS, RecordedSteps, a_request, block_hash, run_to_end


def _engine(
    steps: RecordedSteps,
    *,
    num_blocks: int = 1001,
    prefix_caching: bool = True,
    async_scheduling: bool = True,
) -> Engine:
    config = _config(num_blocks, prefix_caching, async_scheduling)
    return Engine(config, steps)


def _config(
    num_blocks: int, prefix_caching: bool = True, async_scheduling: bool = True
) -> EngineConfig:
    return EngineConfig(
        num_blocks=num_blocks,
        max_num_seqs=8,
        max_num_batched_tokens=512,
        max_model_len=min(2048, (num_blocks - 1) * 16),
        prefix_caching=prefix_caching,
        async_scheduling=async_scheduling,
    )


def _cached(events: list[EngineEvent]) -> dict[str, int]:
    return {e.request_id: e.cached_tokens for e in events if isinstance(e, Scheduled)}


@pytest.mark.parametrize(
    ("prompt_tokens", "cached_tokens"),
    [
        pytest.param(15, 0, id="no full block"),
        pytest.param(16, 0, id="a full-prompt hit still computes its only block"),
        pytest.param(64, 48, id="a full-prompt hit still computes its last block"),
        pytest.param(65, 64, id="the last token is beyond the last full block"),
    ],
)
def test_of_an_identical_prompt_all_but_the_last_token_can_be_found(
    prompt_tokens: int, cached_tokens: int
) -> None:
    steps = RecordedSteps()
    engine = _engine(steps)
    engine.submit(a_request("first", prompt_tokens), 0)
    run_to_end(engine)
    engine.submit(a_request("second", prompt_tokens, content="first"), 20 * MS)
    assert _cached(run_to_end(engine)) == {"second": cached_tokens}
    assert steps.prefill_chunks[1] == [(prompt_tokens - cached_tokens, cached_tokens)]
    assert engine.stats().prefix_queries == 2 * prompt_tokens
    assert engine.stats().prefix_hits == cached_tokens


def test_requests_admitted_in_one_step_share_what_the_first_of_them_will_compute() -> None:
    steps = RecordedSteps()
    engine = _engine(steps)
    for name in ("a", "b", "c"):
        engine.submit(a_request(name, 100, shared_blocks=4), 0)
    run_to_end(engine)
    assert steps.prefill_chunks == [[(100, 0), (36, 64), (36, 64)]]


def test_only_the_scheduled_part_of_a_prompt_can_be_shared() -> None:
    steps = RecordedSteps()
    engine = _engine(steps)
    engine.submit(a_request("filler", 412), 0)
    engine.submit(a_request("a", 200), 0)  # its first 100 tokens fit: 6 blocks and a bit
    engine.submit(a_request("b", 200, content="a"), 0)
    assert _cached(run_to_end(engine)) == {"filler": 0, "a": 0, "b": 192}
    assert steps.prefill_chunks == [[(412, 0), (100, 0)], [(100, 100), (8, 192)]]


@pytest.mark.parametrize("async_scheduling", [True, False])
def test_a_follow_up_finds_the_answer_that_it_quotes(async_scheduling: bool) -> None:
    engine = _engine(RecordedSteps(), async_scheduling=async_scheduling)
    engine.submit(a_request("turn 1", 40, 25), 0)  # 64 of its 65 tokens were computed
    run_to_end(engine)
    engine.submit(a_request("turn 2", 90, content="turn 1"), 500 * MS)
    assert _cached(run_to_end(engine)) == {"turn 2": 64}


@pytest.mark.parametrize("async_scheduling", [True, False])
def test_the_last_token_of_an_answer_is_never_computed(async_scheduling: bool) -> None:
    engine = _engine(RecordedSteps(), async_scheduling=async_scheduling)
    engine.submit(a_request("turn 1", 40, 24), 0)  # 63 of its 64 tokens were computed
    run_to_end(engine)
    engine.submit(a_request("turn 2", 90, content="turn 1"), 500 * MS)
    assert _cached(run_to_end(engine)) == {"turn 2": 48}


def test_output_without_an_identity_is_never_found() -> None:
    engine = _engine(RecordedSteps())
    engine.submit(a_request("turn 1", 40, 41, reusable_output=False), 0)
    events = run_to_end(engine)
    assert [len(e.hashes) for e in events if isinstance(e, KvStored)] == [2]
    engine.submit(a_request("turn 2", 90, content="turn 1"), 500 * MS)
    assert _cached(run_to_end(engine)) == {"turn 2": 32}


def test_without_prefix_caching_nothing_is_looked_up_kept_or_told() -> None:
    engine = _engine(RecordedSteps(), prefix_caching=False)
    engine.submit(a_request("first", 100), 0)
    engine.submit(a_request("second", 100, content="first"), 20 * MS)
    events = run_to_end(engine)
    assert _cached(events) == {"first": 0, "second": 0}
    assert not [e for e in events if isinstance(e, KvStored | KvRemoved)]
    assert (engine.stats().prefix_queries, engine.stats().prefix_hits) == (0, 0)


def test_an_idle_engine_with_a_full_cache_uses_no_blocks() -> None:
    engine = _engine(RecordedSteps())
    engine.submit(a_request("a", 200), 0)
    engine.advance(5 * MS)
    assert engine.stats().kv_usage == pytest.approx(13 / 1000)
    run_to_end(engine)
    assert engine.stats().kv_usage == 0


def test_the_oldest_content_goes_first_from_its_tail_and_is_announced() -> None:
    # 10 blocks: "old" and "new" fill 4 each.  "big" takes the two unused blocks, the tail of
    # "old", and nothing of "new".
    engine = _engine(RecordedSteps(), num_blocks=11)
    engine.submit(a_request("old", 65), 0)
    engine.submit(a_request("new", 65), 20 * MS)
    engine.submit(a_request("big", 80), 40 * MS)
    events = run_to_end(engine)
    removed = [e for e in events if isinstance(e, KvRemoved)]
    evicted = tuple(block_hash("old", index) for index in (3, 2, 1))
    assert removed == [KvRemoved(50 * MS, evicted)]
    engine.submit(a_request("old again", 65, content="old"), 100 * MS)
    assert _cached(run_to_end(engine)) == {"old again": 16}


def test_a_hit_that_is_not_in_use_counts_against_the_free_blocks() -> None:
    # 10 blocks, all of them hashed and free.  A prompt of 10 blocks that hits 5 needs 5 more and
    # fits exactly; while another request holds one block, it must wait.
    engine = _engine(RecordedSteps(), num_blocks=11)
    engine.submit(a_request("a", 81), 0)
    run_to_end(engine)
    engine.submit(a_request("holder", 10, 3), 20 * MS)
    engine.submit(a_request("big", 159, content="a"), 20 * MS)
    events = run_to_end(engine)
    scheduled = [(e.request_id, e.at_ns // MS) for e in events if isinstance(e, Scheduled)]
    assert scheduled == [("holder", 20), ("big", 50)]
    assert _cached(events)["big"] == 80


def test_a_host_tier_keeps_content_and_lets_no_more_requests_in() -> None:
    """Ten blocks for live requests; three prompts of eight come and go, then the first again."""
    cached, waited = {}, {}
    for host_blocks in (0, 20):
        steps = RecordedSteps()
        engine = Engine(replace(_config(num_blocks=11), host_blocks=host_blocks), steps)
        for name in ("a", "b", "c"):
            engine.submit(a_request(name, 128, output_tokens=2), 0)
        engine.advance(1)
        waited[host_blocks] = engine.stats().waiting_capacity
        assert engine.stats().kv_usage == pytest.approx(0.9)
        run_to_end(engine)
        engine.submit(a_request("again", 128, content="a"), 1000 * MS)
        cached[host_blocks] = _cached(run_to_end(engine))["again"]
        assert engine.stats().kv_usage == 0
    assert waited == {0: 2, 20: 2}
    assert cached == {0: 0, 20: 112}
