"""When an answer ends and why: decided when it is submitted, since its tokens are a function.

Nothing in the text waits for the engine, so a stop string is found beforehand and the engine model
gets the exact number of tokens.  Without one the model ends by itself after its natural length:

    natural_tokens = round(mean_tokens * (0.5 + uniform)),     uniform from the prompt's hash
"""

from collections.abc import Sequence
from dataclasses import dataclass

from headway_engine.continuation import Continuation
from headway_engine.sampling import Sampling
from headway_engine.tokenizer import Tokenizer
from headway_sim.engine.facts import FinishReason


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPlan:
    output_tokens: int
    finish_reason: FinishReason
    stop_reason: str | int | None = None
    """The stop string or stop token that ends it; None: length, or the model's own end."""
    text_limit: int | None = None
    """Characters of the answer before the stop string; None: no stop string."""


def plan(
    continuation: Continuation, sampling: Sampling, tokenizer: Tokenizer, mean_tokens: int
) -> AnswerPlan:
    longest = sampling.max_tokens
    end = None
    if not sampling.ignore_eos and tokenizer.eos_token_id is not None:
        natural = max(round(mean_tokens * (0.5 + continuation.uniform)), sampling.min_tokens + 1, 1)
        if natural <= longest:
            continuation.end_at(natural, tokenizer.eos_token_id)
            longest, end = natural, AnswerPlan(output_tokens=natural, finish_reason=_STOP)
    if sampling.stop or sampling.stop_token_ids:
        stopped = _stopped(continuation, sampling, tokenizer, longest)
        if stopped is not None:
            return stopped
    return end or AnswerPlan(output_tokens=longest, finish_reason=FinishReason.LENGTH)


_STOP = FinishReason.STOP


def _stopped(
    continuation: Continuation, sampling: Sampling, tokenizer: Tokenizer, longest: int
) -> AnswerPlan | None:
    stream, text = tokenizer.stream(), ""
    for index, token in enumerate(continuation.upto(longest)[:longest]):
        searched_from, text = len(text), text + stream.step(token)
        if index < sampling.min_tokens:
            continue
        if token in sampling.stop_token_ids:
            return AnswerPlan(
                output_tokens=index + 1, finish_reason=_STOP, stop_reason=token, text_limit=None
            )
        found = _first_stop(text, searched_from, sampling.stop)
        if found is not None:
            position, stop = found
            return AnswerPlan(
                output_tokens=index + 1,
                finish_reason=_STOP,
                stop_reason=stop,
                text_limit=position + len(stop) if sampling.include_stop else position,
            )
    return None


def _first_stop(text: str, searched_from: int, stops: Sequence[str]) -> tuple[int, str] | None:
    """The stop string that comes first in text, of which the beginning was searched before."""
    found = []
    for stop in stops:
        position = text.find(stop, max(0, searched_from - len(stop) + 1))
        if position >= 0:
            found.append((position, stop))
    return min(found, default=None)
