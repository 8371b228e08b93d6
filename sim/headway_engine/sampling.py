"""How long an answer may get and what ends it, checked in vLLM's order and with its messages."""

from collections.abc import Sequence
from dataclasses import dataclass

from headway_engine.bodies import ChatBody, GenerationBody
from headway_engine.errors import bad_request

MAX_N = 16384
"""vLLM's VLLM_MAX_N_SEQUENCES."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    n: int = 1
    max_tokens: int
    min_tokens: int = 0
    temperature: float = 1.0
    seed: int | None = None
    stop: Sequence[str] = ()
    stop_token_ids: Sequence[int] = ()
    include_stop: bool = False
    ignore_eos: bool = False


def sampling(body: GenerationBody, prompt_tokens: int, max_model_len: int) -> Sampling:
    """Of a body whose prompt, or longest prompt, has ``prompt_tokens``.

    Raises:
        Refused: a value out of range, or prompt and answer do not fit into the context.
    """
    max_tokens = body.max_tokens
    if isinstance(body, ChatBody) and body.max_completion_tokens is not None:
        max_tokens = body.max_completion_tokens
    limit = output_limit(max_tokens, prompt_tokens, max_model_len)
    n = 1 if body.n is None else body.n
    temperature = 1.0 if body.temperature is None else body.temperature
    _check(body, n, temperature, limit)
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    return Sampling(
        n=n,
        max_tokens=limit,
        min_tokens=body.min_tokens,
        temperature=temperature,
        seed=body.seed,
        stop=[text for text in stop if text],
        stop_token_ids=body.stop_token_ids or (),
        include_stop=body.include_stop_str_in_output,
        ignore_eos=body.ignore_eos,
    )


def output_limit(max_tokens: int | None, prompt_tokens: int, max_model_len: int) -> int:
    """Tokens the answer may have: at most what is left of the context, by default all of it."""
    context = f"This model's maximum context length is {max_model_len} tokens."
    if max_tokens is not None and max_tokens > max_model_len:
        raise bad_request(
            f"max_tokens={max_tokens} cannot be greater than max_model_len={max_model_len}. "
            "Please request fewer output tokens.",
            "max_tokens",
            max_tokens,
        )
    if prompt_tokens > max_model_len:
        raise bad_request(
            f"{context} However, your prompt contains {prompt_tokens} input tokens, which exceeds "
            "this limit even without any output tokens. "
            "Please reduce the length of the input prompt.",
            "input_tokens",
            prompt_tokens,
        )
    left = max_model_len - prompt_tokens
    return left if max_tokens is None else min(max_tokens, left)


def _check(body: GenerationBody, n: int, temperature: float, max_tokens: int) -> None:
    if n < 1:
        raise bad_request(f"n must be at least 1, got {n}.")
    if n > MAX_N:
        raise bad_request(f"n must be at most {MAX_N}, got {n}.")
    for name in ("presence_penalty", "frequency_penalty"):
        penalty = getattr(body, name)
        if penalty is not None and not -2.0 <= penalty <= 2.0:
            raise bad_request(f"{name} must be in [-2, 2], got {penalty}.")
    if body.repetition_penalty is not None and body.repetition_penalty <= 0.0:
        raise bad_request(
            f"repetition_penalty must be greater than zero, got {body.repetition_penalty}."
        )
    if temperature < 0.0:
        raise bad_request(
            f"temperature must be non-negative, got {temperature}.", "temperature", temperature
        )
    if body.top_p is not None and not 0.0 < body.top_p <= 1.0:
        raise bad_request(f"top_p must be in (0, 1], got {body.top_p}.", "top_p", body.top_p)
    if body.top_k is not None and body.top_k < -1:
        raise bad_request(f"top_k must be 0 (disable), or at least 1, got {body.top_k}.")
    if body.min_p is not None and not 0.0 <= body.min_p <= 1.0:
        raise bad_request(f"min_p must be in [0, 1], got {body.min_p}.")
    if temperature == 0.0 and n > 1:
        raise bad_request(f"n must be 1 when using greedy sampling, got {n}.")
    if max_tokens < 1:
        raise bad_request(
            f"max_tokens must be at least 1, got {max_tokens}.", "max_tokens", max_tokens
        )
    if body.min_tokens < 0:
        raise bad_request(
            f"min_tokens must be greater than or equal to 0, got {body.min_tokens}.",
            "min_tokens",
            body.min_tokens,
        )
    if body.min_tokens > max_tokens:
        raise bad_request(
            f"min_tokens must be less than or equal to max_tokens={max_tokens}, "
            f"got {body.min_tokens}.",
            "min_tokens",
            body.min_tokens,
        )
