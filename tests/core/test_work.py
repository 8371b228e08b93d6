"""Prefill work: what is computed, and what it attends to."""

from hypothesis import given
from hypothesis import strategies as st

from headway_core.estimate.work import NO_WORK, Work, prefill_work

works = st.builds(Work, st.floats(0, 1e6), st.floats(0, 1e12))


def test_a_cold_prompt_attends_to_half_of_itself() -> None:
    assert prefill_work(1000, 0) == Work(1000, 500_000)


def test_a_hit_is_not_computed_but_attended_to() -> None:
    assert prefill_work(1000, 900) == Work(100, 100 * (900 + 50))


def test_the_last_token_of_a_prompt_is_always_computed() -> None:
    assert prefill_work(1000, 1000).tokens == 1
    assert prefill_work(0, 0).tokens == 1


@given(st.integers(0, 2_000_000), st.integers(0, 2_000_000))
def test_a_longer_hit_is_never_more_work(prompt_tokens: int, hit_tokens: int) -> None:
    less = prefill_work(prompt_tokens, min(hit_tokens + 1, prompt_tokens))
    more = prefill_work(prompt_tokens, min(hit_tokens, prompt_tokens))
    assert less.tokens <= more.tokens
    assert less.pairs <= more.pairs


@given(works, works)
def test_taking_away_what_was_added_leaves_no_debt(first: Work, second: Work) -> None:
    left = first.minus(first.plus(second))
    assert left == NO_WORK
