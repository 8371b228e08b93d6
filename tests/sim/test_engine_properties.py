"""Laws that hold for every workload: conservation, limits, determinism."""

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway_sim.engine import (
    Engine,
    EngineConfig,
    EngineEvent,
    EngineRequest,
    FinishReason,
    KvCleared,
    KvRemoved,
    KvStored,
    Preempted,
    RequestFinished,
    Scheduled,
    SchedulingPolicy,
    TokenEmitted,
)
from headway_sim.step_model import DecodeLine
from headway_sim.testing import MS, a_request, run_to_end

BLOCK_TOKENS = 4
MAX_MODEL_LEN = 64
LAW = settings(max_examples=60, deadline=None)


@dataclass(frozen=True, slots=True)
class Arrival:
    at_ns: int
    request: EngineRequest
    aborted_after_ns: int | None


@dataclass(slots=True)
class PricedSteps:
    """Steps whose length depends on what is in them; keeps tokens and seats of each."""

    tokens: list[int] = field(default_factory=list)
    seats: list[int] = field(default_factory=list)

    def step(
        self, prefill_chunks: Sequence[tuple[int, int]], decodes: int, kv_tokens: int
    ) -> float:
        prefill_tokens = sum(new for new, _ in prefill_chunks)
        self.tokens.append(prefill_tokens + decodes)
        self.seats.append(len(prefill_chunks) + decodes)
        return (1 + 0.07 * prefill_tokens + 0.11 * decodes + 0.003 * kv_tokens) / 1000

    def decode_line(self, decodes: int, kv_tokens: int) -> DecodeLine:
        return DecodeLine((1 + 0.11 * decodes) / 1000, 0.003 / 1000)


@st.composite
def _arrivals(draw: st.DrawFn) -> list[Arrival]:
    at_ns = 0
    arrivals = []
    for number in range(draw(st.integers(1, 12))):
        at_ns += draw(st.sampled_from([0, 0, 1, 700_000, 3 * MS, 40 * MS]))
        prompt_tokens = draw(st.integers(1, MAX_MODEL_LEN - 1))
        request = a_request(
            f"r{number}",
            prompt_tokens,
            draw(st.integers(1, MAX_MODEL_LEN - prompt_tokens)),
            shared_blocks=draw(st.integers(0, 8)),
            shared_content=draw(st.sampled_from(["x", "y"])),
            block_tokens=BLOCK_TOKENS,
            finish_reason=draw(st.sampled_from([FinishReason.LENGTH, FinishReason.STOP])),
            priority=draw(st.integers(-1, 1)),
            adapter=draw(st.sampled_from([None, None, "sql", "chat"])),
            reusable_output=draw(st.booleans()),
        )
        aborted_after_ns = draw(st.none() | st.integers(0, 60 * MS))
        arrivals.append(Arrival(at_ns, request, aborted_after_ns))
    return arrivals


_CONFIGS = st.builds(
    EngineConfig,
    block_tokens=st.just(BLOCK_TOKENS),
    # From what a single request of the greatest length needs, so that preemption is common.
    num_blocks=st.integers(MAX_MODEL_LEN // BLOCK_TOKENS + 1, 60),
    max_num_seqs=st.integers(1, 6),
    max_num_batched_tokens=st.integers(1, 80),
    max_model_len=st.just(MAX_MODEL_LEN),
    prefix_caching=st.booleans(),
    async_scheduling=st.booleans(),
    policy=st.sampled_from(SchedulingPolicy),
    reserve_full_prompt=st.booleans(),
    long_prefill_threshold=st.sampled_from([0, 0, 5]),
    max_loras=st.sampled_from([0, 1]),
    unhashed_free_to_front=st.booleans(),
)


def _calls(arrivals: list[Arrival]) -> list[tuple[int, int, Arrival]]:
    """(instant, 0 submit or 1 abort, which), in order."""
    calls = []
    for arrival in arrivals:
        calls.append((arrival.at_ns, 0, arrival))
        if arrival.aborted_after_ns is not None:
            calls.append((arrival.at_ns + arrival.aborted_after_ns, 1, arrival))
    return sorted(calls, key=lambda call: call[:2])


def _run(
    config: EngineConfig, arrivals: list[Arrival], *, step_by_step: bool = False
) -> list[EngineEvent]:
    engine = Engine(config, PricedSteps())
    events: list[EngineEvent] = []
    for at_ns, kind, arrival in _calls(arrivals):
        while step_by_step and (due_ns := engine.next_event_ns()) is not None and due_ns < at_ns:
            events += engine.advance(due_ns)
        if kind == 0:
            engine.submit(arrival.request, at_ns)
        else:
            engine.abort(arrival.request.request_id, at_ns)
    return events + run_to_end(engine)


@LAW
@given(_CONFIGS, _arrivals())
def test_every_request_ends_once_with_all_its_tokens_in_order(
    config: EngineConfig, arrivals: list[Arrival]
) -> None:
    events = _run(config, arrivals)
    ends = {e.request_id: e for e in events if isinstance(e, RequestFinished)}
    assert sum(isinstance(e, RequestFinished) for e in events) == len(arrivals)
    for arrival in arrivals:
        request = arrival.request
        end = ends[request.request_id]
        tokens = [
            e for e in events if isinstance(e, TokenEmitted) and e.request_id == request.request_id
        ]
        assert [e.index for e in tokens] == list(range(end.output_tokens))
        if end.reason is FinishReason.ABORT:
            assert arrival.aborted_after_ns is not None
            assert end.at_ns == arrival.at_ns + arrival.aborted_after_ns
        else:
            assert end.reason == request.finish_reason
            assert end.output_tokens == request.output_tokens
            assert end.at_ns == tokens[-1].at_ns


@LAW
@given(_CONFIGS, _arrivals())
def test_requests_and_blocks_are_conserved_and_no_limit_is_passed(
    config: EngineConfig, arrivals: list[Arrival]
) -> None:
    steps = PricedSteps()
    engine = Engine(config, steps)
    pool = engine._scheduler.kv.pool
    calls = _calls(arrivals)
    arrived = 0
    ended: set[str] = set()
    while True:
        due_ns = engine.next_event_ns()
        if calls and (due_ns is None or calls[0][0] <= due_ns):
            at_ns, kind, arrival = calls.pop(0)
            if kind == 0:
                engine.submit(arrival.request, at_ns)
                arrived += 1
            else:
                engine.abort(arrival.request.request_id, at_ns)
            events = engine.advance(at_ns)
        elif due_ns is not None:
            events = engine.advance(due_ns)
        else:
            break
        ended |= {e.request_id for e in events if isinstance(e, RequestFinished)}
        stats = engine.stats()
        assert arrived == len(ended) + stats.running + stats.waiting_capacity + (
            stats.waiting_deferred
        )
        held = {block for s in engine._scheduler.running for block in s.blocks}
        assert len(held) + pool.free_blocks == config.num_blocks - 1
        assert stats.kv_usage == pytest.approx(len(held) / (config.num_blocks - 1))
        assert stats.running <= config.max_num_seqs
    assert arrived == len(arrivals) == len(ended)
    assert max(steps.tokens) <= config.max_num_batched_tokens
    assert max(steps.seats) <= config.max_num_seqs
    assert engine.stats().kv_usage == 0
    assert engine.reset_prefix_cache(1 << 62)


@LAW
@given(_CONFIGS, _arrivals())
def test_one_jump_and_many_small_steps_give_the_same_events(
    config: EngineConfig, arrivals: list[Arrival]
) -> None:
    assert _run(config, arrivals) == _run(config, arrivals, step_by_step=True)


@LAW
@given(_CONFIGS, _arrivals())
def test_events_are_in_order_of_time(config: EngineConfig, arrivals: list[Arrival]) -> None:
    instants = [event.at_ns for event in _run(config, arrivals)]
    assert instants == sorted(instants)


@LAW
@given(_CONFIGS, _arrivals())
def test_a_listener_to_cache_events_knows_what_the_cache_holds(
    config: EngineConfig, arrivals: list[Arrival]
) -> None:
    engine = Engine(config, PricedSteps())
    for arrival in arrivals:
        engine.submit(arrival.request, arrival.at_ns)
    known: Counter[int] = Counter()
    for event in run_to_end(engine):
        match event:
            case KvStored(hashes=hashes, parent_hash=parent):
                assert parent is None or known[parent] > 0
                known.update(hashes)
            case KvRemoved(hashes=hashes):
                known.subtract(hashes)
                assert min(known.values()) >= 0
            case KvCleared():
                known.clear()
    pool = engine._scheduler.kv.pool
    held = Counter(block_hash for _, block_hash in pool.free_order() if block_hash is not None)
    assert +known == held
    assert config.prefix_caching or not held


@LAW
@given(_CONFIGS, _arrivals())
def test_hits_and_preemptions_in_the_events_add_up_to_the_counters(
    config: EngineConfig, arrivals: list[Arrival]
) -> None:
    engine = Engine(config, PricedSteps())
    for arrival in arrivals:
        engine.submit(arrival.request, arrival.at_ns)
    events = run_to_end(engine)
    first = [e for e in events if isinstance(e, Scheduled) and not e.resumed]
    stats = engine.stats()
    assert len(first) == len(arrivals)
    assert stats.prefix_hits == sum(e.cached_tokens for e in first)
    assert stats.preemptions == sum(isinstance(e, Preempted) for e in events)
    if config.prefix_caching:
        assert stats.prefix_queries == sum(a.request.prompt_tokens for a in arrivals)


@LAW
@given(_CONFIGS, _arrivals())
def test_with_room_for_all_nobody_is_preempted(
    config: EngineConfig, arrivals: list[Arrival]
) -> None:
    roomy = replace(config, num_blocks=len(arrivals) * MAX_MODEL_LEN // BLOCK_TOKENS + 1)
    assert not [e for e in _run(roomy, arrivals) if isinstance(e, Preempted)]


_SCENARIO = """
from hashlib import sha256
from headway_sim.engine import Engine, EngineConfig, SchedulingPolicy
from headway_sim.testing import RecordedSteps, a_request, run_to_end

config = EngineConfig(num_blocks=30, max_num_seqs=6, max_num_batched_tokens=100,
                      max_model_len=400, max_loras=1, policy=SchedulingPolicy.PRIORITY)
engine = Engine(config, RecordedSteps())
for n in range(40):
    engine.submit(a_request(f"r{n}", 20 + 7 * n, 5 + n % 40, shared_blocks=n % 5, priority=n % 3,
                            adapter=(None, "sql", "chat")[n % 3]), n * 3_000_000)
print(sha256(repr(run_to_end(engine)).encode()).hexdigest(), engine.stats().preemptions > 0)
"""


@pytest.mark.slow
def test_a_run_does_not_depend_on_the_hash_seed() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", _SCENARIO],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(outputs) == 1
    assert outputs.pop().endswith("True\n")
