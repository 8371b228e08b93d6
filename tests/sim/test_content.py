"""Prompts share hashes exactly as far as they share text, for every block size."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway_sim.content import Contents, SizeEstimate
from headway_sim.workloads.multi_turn import MultiTurn, generate
from headway_sim.workloads.request import Segment, WorkloadRequest

EXACT = SizeEstimate(0.0, seed=0)


def a_prompt(*segments: tuple[str, int], answer_key: str | None = None) -> WorkloadRequest:
    return WorkloadRequest(
        at_s=0.0,
        prompt=tuple(Segment(key, tokens) for key, tokens in segments),
        output_tokens=1,
        answer_key=answer_key,
    )


def shared(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


def test_two_prompts_share_their_common_segments_and_no_more() -> None:
    contents = Contents(EXACT)
    one = contents.engine_blocks(a_prompt(("system", 100), ("x", 100)), 16)
    two = contents.engine_blocks(a_prompt(("system", 100), ("y", 100)), 16)
    assert len(one) == 12
    assert shared(one, two) == 6  # The block across the seam differs.


def test_the_same_text_cut_shorter_is_a_prefix_of_the_longer() -> None:
    contents = Contents(EXACT)
    short = contents.engine_blocks(a_prompt(("x", 64)), 16)
    long = contents.engine_blocks(a_prompt(("x", 200)), 16)
    assert long[:4] == short


def test_the_same_text_after_another_beginning_is_something_else() -> None:
    contents = Contents(EXACT)
    one = contents.engine_blocks(a_prompt(("a", 16), ("x", 64)), 16)
    two = contents.engine_blocks(a_prompt(("b", 16), ("x", 64)), 16)
    assert not set(one) & set(two)


@pytest.mark.parametrize("block_tokens", [16, 256])
def test_an_answer_fills_the_blocks_that_the_next_turn_begins_with(block_tokens: int) -> None:
    contents = Contents(EXACT)
    conversations = generate(MultiTurn(users=1, think_s=1.0), seed=1, duration_s=60.0)
    first, second = (
        r for r in conversations if r.session == conversations[0].session and r.turn in (1, 2)
    )
    filled = (first.prompt_tokens + first.output_tokens) // block_tokens
    hash_of = contents.answer_blocks(first, block_tokens)
    assert hash_of is not None
    before = contents.engine_blocks(first, block_tokens)
    answer = tuple(hash_of(index) for index in range(len(before), filled))
    assert contents.engine_blocks(second, block_tokens)[:filled] == before + answer


def test_an_answer_that_nobody_repeats_has_no_identity() -> None:
    assert Contents(EXACT).answer_blocks(a_prompt(("x", 20)), 16) is None


def test_without_error_a_router_sees_what_the_engine_sees() -> None:
    contents = Contents(EXACT)
    request = a_prompt(("system", 700), ("x", 900))
    blocks, estimated = contents.router_blocks(request, 256)
    assert estimated == 1600
    assert blocks == contents.engine_blocks(request, 256)


def test_the_size_estimate_is_right_on_average_and_has_the_stated_error() -> None:
    estimate = SizeEstimate(0.2, seed=5)
    factors = [estimate.tokens(Segment(f"text {i}", 10_000)) / 10_000 for i in range(4000)]
    mean = sum(factors) / len(factors)
    deviation = (sum((f - mean) ** 2 for f in factors) / len(factors)) ** 0.5
    assert mean == pytest.approx(1.0, abs=0.02)
    assert deviation == pytest.approx(0.2, rel=0.1)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 90)), min_size=1, max_size=6),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 90)), min_size=1, max_size=6),
    st.sampled_from([1, 16, 50]),
)
def test_routers_with_an_error_still_agree_on_shared_prefixes(
    common: list[tuple[str, int]], rest: list[tuple[str, int]], block_tokens: int
) -> None:
    contents = Contents(SizeEstimate(0.3, seed=1))
    prefix, whole = a_prompt(*common), a_prompt(*common, *rest)
    blocks, estimated = contents.router_blocks(prefix, block_tokens)
    longer, more = contents.router_blocks(whole, block_tokens)
    assert longer[: len(blocks)] == blocks
    assert more > estimated
    assert len(blocks) == estimated // block_tokens
    assert contents.router_blocks(replace(whole, at_s=9.0), block_tokens)[0] == longer
