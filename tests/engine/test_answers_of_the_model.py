"""What the simulated model says, and when it stops."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_engine.answer_plan import AnswerPlan, plan
from headway_engine.bytes4 import Bytes4Tokenizer
from headway_engine.continuation import Continuation
from headway_engine.sampling import Sampling
from headway_sim.engine.facts import FinishReason

TOKENIZER = Bytes4Tokenizer()
IDS = TOKENIZER.generated_ids
PROMPTS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50)


def answer(prompt: list[int], salt: str = "") -> Continuation:
    return Continuation(prompt, IDS, salt)


def planned(prompt: list[int], mean_tokens: int = 1000, **fields: Any) -> AnswerPlan:
    sampling = Sampling(max_tokens=fields.pop("max_tokens", 50), **fields)
    return plan(answer(prompt), sampling, TOKENIZER, mean_tokens)


@given(PROMPTS, st.integers(1, 30))
def test_an_answer_is_a_function_of_the_prompt(prompt: list[int], tokens: int) -> None:
    assert answer(prompt).upto(tokens)[:tokens] == answer(prompt).upto(tokens)[:tokens]


@given(PROMPTS, st.integers(1, 20))
def test_a_prompt_with_its_answer_continues_the_answer(prompt: list[int], cut: int) -> None:
    whole = answer(prompt).upto(cut + 10)
    assert answer([*prompt, *whole[:cut]]).upto(10)[:10] == whole[cut : cut + 10]


def test_prompts_and_adapters_have_answers_of_their_own() -> None:
    answers = [answer([1]), answer([2]), answer([1], "sql")]
    texts = {tuple(a.upto(20)) for a in answers}
    assert len(texts) == 3


def test_an_answer_fills_what_was_asked_for_if_it_may_not_end() -> None:
    assert planned([1], mean_tokens=2, ignore_eos=True) == AnswerPlan(
        output_tokens=50, finish_reason=FinishReason.LENGTH
    )


@given(PROMPTS)
def test_the_model_ends_an_answer_after_about_its_mean_length(prompt: list[int]) -> None:
    ended = planned(prompt, mean_tokens=20)
    assert ended.finish_reason is FinishReason.STOP
    assert 10 <= ended.output_tokens <= 30
    assert ended.stop_reason is None


def test_the_last_token_of_an_ended_answer_is_the_end_of_turn() -> None:
    continuation = answer([1])
    ended = plan(continuation, Sampling(max_tokens=50), TOKENIZER, 20)
    tokens = continuation.upto(ended.output_tokens)
    assert tokens[-1] == TOKENIZER.eos_token_id
    assert TOKENIZER.eos_token_id not in tokens[:-1]


def test_an_answer_does_not_end_before_its_minimum() -> None:
    assert planned([1], mean_tokens=2, min_tokens=40).output_tokens > 40


def test_a_stop_string_ends_the_answer_and_is_not_part_of_it() -> None:
    text = TOKENIZER.decode(answer([1]).upto(30))
    stop = text[18:23]
    stopped = planned([1], stop=[stop])
    position = text.index(stop)
    assert stopped.stop_reason == stop
    assert stopped.text_limit == position
    assert stopped.output_tokens == (position + len(stop) + 3) // 4


def test_a_stop_string_can_be_kept() -> None:
    stop = TOKENIZER.decode(answer([1]).upto(5)[3:4])
    stopped = planned([1], stop=[stop], include_stop=True)
    assert stopped.text_limit == 16


def test_the_first_of_several_stop_strings_counts() -> None:
    tokens = answer([1]).upto(10)
    first, second = TOKENIZER.decode(tokens[2:3]), TOKENIZER.decode(tokens[6:7])
    assert planned([1], stop=[second, first]).stop_reason == first


def test_a_stop_token_ends_the_answer_after_the_minimum() -> None:
    tokens = answer([1]).upto(30)
    stopped = planned([1], stop_token_ids=[tokens[12]])
    assert stopped.stop_reason == tokens[12]
    assert stopped.output_tokens == tokens.index(tokens[12]) + 1
    later = planned([1], stop_token_ids=[tokens[12]], min_tokens=20)
    assert later.output_tokens > 20 or later.stop_reason is None


@pytest.mark.parametrize("max_tokens", [1, 7])
def test_a_stop_that_comes_too_late_changes_nothing(max_tokens: int) -> None:
    stop = TOKENIZER.decode(answer([1]).upto(10)[8:9])
    stopped = planned([1], stop=[stop], max_tokens=max_tokens)
    assert stopped == AnswerPlan(output_tokens=max_tokens, finish_reason=FinishReason.LENGTH)
