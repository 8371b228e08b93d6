"""The fast engine against the literal one: the same events at the same instants, whatever comes."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from headway_sim.engine import (
    Engine,
    EngineConfig,
    EngineEvent,
    EngineRequest,
    EngineStats,
    FinishReason,
    KvCleared,
    KvRemoved,
    KvStored,
    Preempted,
    Scheduled,
    SchedulingPolicy,
    TokenEmitted,
)
from headway_sim.engine.kv_cache import KvCache
from headway_sim.errors import InvalidEngineRequest, TimeRanBackwards
from headway_sim.fast_forward import FastEngine
from headway_sim.profiles import profile
from headway_sim.step_model import DecodeLine, StepModel
from headway_sim.testing import MS, RecordedSteps, a_request, block_hash, run_to_end
from headway_sim.world.hosts import Throttled

Call = tuple[int, int, EngineRequest]
"""(instant, 0 submit or 1 abort, which)."""

CACHE_EVENTS = (KvStored, KvRemoved, KvCleared)


@dataclass(slots=True)
class PricedSteps:
    """Steps of whole microseconds, linear in pieces of so many KV tokens; counts the prices."""

    piece: int = 100
    steps: int = 0
    lines: int = 0

    def step(
        self, prefill_chunks: Sequence[tuple[int, int]], decodes: int, kv_tokens: int
    ) -> float:
        self.steps += 1
        prefill_tokens = sum(new for new, _ in prefill_chunks)
        return (1 + 0.07 * prefill_tokens + 0.11 * decodes + 0.003 * kv_tokens) / 1000

    def decode_line(self, decodes: int, kv_tokens: int) -> DecodeLine:
        self.lines += 1
        until = (kv_tokens // self.piece + 1) * self.piece
        return DecodeLine((1 + 0.11 * decodes) / 1000, 0.003 / 1000, until)


@dataclass(slots=True)
class Run:
    """All that can be seen of an engine."""

    events: list[EngineEvent] = field(default_factory=list)
    stats: list[EngineStats] = field(default_factory=list)
    aborted: list[bool] = field(default_factory=list)
    wakes: int = 0


def drive(engine: Engine, calls: Iterable[Call], *, is_woken: bool = True) -> Run:
    """``is_woken``: between calls, advance to every event that the engine names."""
    run = Run()

    def wake(until_ns: float) -> None:
        while (due_ns := engine.next_event_ns()) is not None and due_ns < until_ns:
            run.events += engine.advance(due_ns)
            run.wakes += 1

    for at_ns, kind, request in calls:
        if is_woken:
            wake(at_ns)
        if kind == 0:
            engine.submit(request, at_ns)
        else:
            run.aborted.append(engine.abort(request.request_id, at_ns))
        run.stats.append(engine.stats())
    wake(float("inf"))
    run.stats.append(engine.stats())
    return run


def told(events: Iterable[EngineEvent], *, of_cache: bool) -> list[EngineEvent]:
    """What a fast engine tells of these."""
    return [
        event
        for event in events
        if not (isinstance(event, TokenEmitted) and event.index > 0)
        and (of_cache or not isinstance(event, CACHE_EVENTS))
    ]


def some_config(rng: Random, max_model_len: int, block_tokens: int) -> EngineConfig:
    """From a cache that a single request fills, so that preemption is common."""
    blocks = max_model_len // block_tokens
    return EngineConfig(
        block_tokens=block_tokens,
        num_blocks=rng.choice([blocks + 1, blocks * 2, blocks * 3, blocks * 10]) + 1,
        host_blocks=rng.choice([0, 0, rng.randint(1, 5 * blocks)]),
        max_num_seqs=rng.randint(1, 12),
        max_num_batched_tokens=rng.choice(
            [rng.randint(1, 20), rng.randint(1, 2 * max_model_len), 8 * max_model_len]
        ),
        max_model_len=max_model_len,
        prefix_caching=rng.random() < 0.8,
        async_scheduling=rng.random() < 0.7,
        policy=rng.choice(list(SchedulingPolicy)),
        reserve_full_prompt=rng.random() < 0.5,
        long_prefill_threshold=rng.choice([0, 0, 5]),
        max_loras=rng.choice([0, 0, 1]),
        unhashed_free_to_front=rng.random() < 0.6,
    )


def some_content(rng: Random, blocks: int) -> Callable[[int], int]:
    """Of a tree: a few beginnings, each with a few ways to go on, and so on."""
    forks = [rng.randint(0, 2) for _ in range(rng.randint(1, 5))]
    edges = [0, *sorted(rng.randint(1, blocks) for _ in forks[1:])]

    def hash_of(index: int) -> int:
        depth = sum(edge <= index for edge in edges)
        text = ".".join(f"{e}:{f}" for e, f in zip(edges[:depth], forks[:depth], strict=True))
        return block_hash(text, index)

    return hash_of


def some_calls(rng: Random, max_model_len: int, block_tokens: int) -> list[Call]:
    gaps = rng.choice([[0, 0, 1, 700_000, 3 * MS, 40 * MS], [0, 3 * MS, 100 * MS, 400 * MS]])
    calls, at_ns = [], 0
    for number in range(rng.randint(1, 40)):
        at_ns += rng.choice(gaps)
        longest = rng.choice([max_model_len - 1, max_model_len - 1, 2 * block_tokens])
        prompt_tokens = rng.randint(1, min(longest, max_model_len - 1))
        content = some_content(rng, max_model_len // block_tokens)
        has_identity = rng.random() < 0.9
        request = EngineRequest(
            request_id=f"r{number}",
            prompt_tokens=prompt_tokens,
            output_tokens=rng.randint(1, max_model_len - prompt_tokens),
            block_hashes=tuple(map(content, range(prompt_tokens // block_tokens)))
            if has_identity
            else (),
            output_block_hash=content if has_identity and rng.random() < 0.6 else None,
            finish_reason=rng.choice([FinishReason.LENGTH, FinishReason.LENGTH, FinishReason.STOP]),
            priority=rng.randint(-1, 1),
            adapter=rng.choice([None, None, "sql", "chat"]),
        )
        calls.append((at_ns, 0, request))
        if rng.random() < 0.2:
            calls.append((at_ns + rng.choice([0, MS, rng.randint(0, 300 * MS)]), 1, request))
    return sorted(calls, key=lambda call: call[:2])


def literal_and_fast(
    config: EngineConfig, calls: list[Call], tells: bool, is_woken: bool = True
) -> tuple[Run, Run]:
    """Both, with all that can be compared equal."""
    blocks = KvCache(config)
    literal = Engine(config, PricedSteps(), blocks)
    fast = FastEngine(config, PricedSteps(), tells_of_cache=tells)
    want, got = drive(literal, calls), drive(fast, calls, is_woken=is_woken)
    assert got.events == told(want.events, of_cache=tells)
    assert got.aborted == want.aborted
    for ours, theirs in zip(got.stats, want.stats, strict=True):
        assert replace(ours, busy_s=0) == replace(theirs, busy_s=0)
        assert ours.busy_s == pytest.approx(theirs.busy_s, abs=1e-12)
    order = [block_hash for _, block_hash in blocks.pool.free_order()]
    assert fast._kv.pool.free_order() == order
    return want, got


@pytest.mark.parametrize("tells", [True, False], ids=["told of the cache", "not told"])
@pytest.mark.parametrize("batch", range(6))
def test_it_gives_what_the_literal_engine_gives(batch: int, tells: bool) -> None:
    seen: Counter[str] = Counter()
    for number in range(60):
        rng = Random(f"{batch} {number}")
        shape = rng.choice([(64, 4), (64, 4), (200, 16), (300, 8), (40, 1)])
        config, calls = some_config(rng, *shape), some_calls(rng, *shape)
        is_woken = rng.random() < 0.8
        literal, fast = literal_and_fast(config, calls, tells, is_woken)
        seen += Counter(type(event).__name__ for event in literal.events)
        seen["hits"] += literal.stats[-1].prefix_hits
        seen["aborted"] += sum(literal.aborted)
        seen["resumed"] += sum(isinstance(e, Scheduled) and e.resumed for e in fast.events)
    # Nothing of what could differ was left out.
    assert seen["Preempted"] > 100 and seen["resumed"] > 100
    assert seen["KvRemoved"] > 100 and seen["KvStored"] > 100
    assert seen["hits"] > 1000 and seen["aborted"] > 20


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])
def test_a_storm_of_preemptions_is_the_same_storm(asynchronous: bool) -> None:
    config = EngineConfig(
        block_tokens=16,
        num_blocks=130,
        max_num_seqs=64,
        max_num_batched_tokens=2048,
        max_model_len=2000,
        async_scheduling=asynchronous,
        reserve_full_prompt=False,
    )
    calls = [(n * 7 * MS, 0, a_request(f"r{n}", 40 + n, 300 + n)) for n in range(40)]
    literal, _ = literal_and_fast(config, calls, tells=True)
    assert sum(isinstance(event, Preempted) for event in literal.events) > 40


@pytest.mark.parametrize(
    "name", ["h100-llama-3.1-8b-tp1", "a100-llama-3.1-70b-tp4", "b200-llama-3.1-8b-tp1"]
)
def test_with_measured_coefficients_instants_agree_to_a_nanosecond(name: str) -> None:
    known = profile(name)
    rng = Random(name)
    calls, at_ns = [], 0
    for number in range(150):
        at_ns += round(rng.expovariate(4.0) * 1e9)
        request = a_request(
            f"r{number}",
            rng.randint(50, 6000),
            rng.randint(1, 1500),
            shared_blocks=rng.choice([0, 3, 100]),
            reusable_output=rng.random() < 0.5,
        )
        calls.append((at_ns, 0, request))
    # Not a factor that can be represented: rounding is not the same everywhere.
    literal = drive(Engine(known.config, _slow(known.step_model)), calls)
    fast = drive(FastEngine(known.config, _slow(known.step_model)), calls)
    want = told(literal.events, of_cache=True)
    assert len(fast.events) == len(want)
    for ours, theirs in zip(fast.events, want, strict=True):
        assert abs(ours.at_ns - theirs.at_ns) <= 1
        assert replace(ours, at_ns=theirs.at_ns) == theirs
    assert literal.stats[-1].busy_s > 30
    assert fast.stats[-1].busy_s == pytest.approx(literal.stats[-1].busy_s, abs=1e-9)


def _slow(model: StepModel) -> Throttled:
    slow = Throttled(model)
    slow.factor = 1.7
    return slow


def test_a_change_of_speed_counts_from_its_own_moment() -> None:
    runs = []
    for build in (Engine, FastEngine):
        model = Throttled(RecordedSteps(ms=10.0))
        engine = build(profile("h100-llama-3.1-8b-tp1").config, model)
        engine.submit(a_request("a", 100, 1000), 0)
        engine.submit(a_request("b", 100, 500), 1_003 * MS)
        for at_ns, factor in ((2_005 * MS, 3.0), (4_100 * MS, 0.5), (4_101 * MS, 1.0)):
            engine.catch_up(at_ns)
            model.factor = factor
        runs.append(told(run_to_end(engine), of_cache=True))
    assert runs[0] == runs[1]


def test_work_and_wakes_do_not_grow_with_the_answer() -> None:
    def cost(output_tokens: int) -> tuple[int, int]:
        config = replace(profile("h100-llama-3.1-8b-tp1").config, num_blocks=100_000)
        model = PricedSteps(piece=10**9)
        calls = [
            (n * 50 * MS, 0, a_request(f"r{n}", 200, output_tokens, reusable_output=n % 2 == 0))
            for n in range(100)
        ]
        run = drive(FastEngine(config, model, tells_of_cache=False), calls)
        assert len(run.events) == 300
        return run.wakes, model.steps + model.lines

    (short_wakes, short_prices), (long_wakes, long_prices) = cost(50), cost(5000)
    assert long_wakes <= 4 * 100 and long_prices <= 16 * 100
    assert long_wakes <= 1.5 * short_wakes
    assert long_prices <= 1.5 * short_prices


def test_it_wakes_nobody_for_what_nobody_waits_for() -> None:
    engine = FastEngine(profile("tiny").config, RecordedSteps(ms=10.0), tells_of_cache=False)
    engine.submit(a_request("a", 100, 1000, block_tokens=32), 0)
    instants = []
    while (due_ns := engine.next_event_ns()) is not None:
        if engine.advance(due_ns):
            instants.append(due_ns)
    # Admission, first token and end.
    assert instants == [0, 10 * MS, 10_000 * MS]


def test_it_refuses_what_the_literal_engine_refuses() -> None:
    engine = FastEngine(profile("tiny").config, RecordedSteps())
    engine.submit(a_request("a", 10, 10, block_tokens=32), MS)
    with pytest.raises(InvalidEngineRequest, match="live already"):
        engine.submit(a_request("a", 10, 10, block_tokens=32), MS)
    with pytest.raises(TimeRanBackwards):
        engine.advance(0)
    assert not engine.abort("b", MS)


def test_its_cache_can_be_reset_while_it_is_idle() -> None:
    engine = FastEngine(profile("tiny").config, RecordedSteps())
    engine.submit(a_request("a", 100, 2, block_tokens=32), 0)
    assert not engine.reset_prefix_cache(5 * MS)
    run_to_end(engine)
    assert engine.reset_prefix_cache(1000 * MS)
    engine.submit(a_request("b", 100, 2, content="a", block_tokens=32), 1001 * MS)
    events = run_to_end(engine)
    assert [e.cached_tokens for e in events if isinstance(e, Scheduled)] == [0]
    assert sum(isinstance(e, KvCleared) for e in events) == 1
