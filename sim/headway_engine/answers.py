"""Parts that answers of several APIs share: usage, per-request timing, fingerprint, text.

Key order and the fields that are there although null are those of vLLM 0.32.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from headway_engine.clock import EngineClock
from headway_engine.generation import Generation
from headway_engine.settings import Settings
from headway_engine.tokenizer import TextStream

VERSION = "0.32.0"


def fingerprint(settings: Settings) -> str:
    """Constant for a server configuration."""
    digest = hashlib.sha256(repr((settings.engine, settings.served_names)).encode()).hexdigest()
    return f"vllm-{VERSION}-{digest[:8]}"


class Usage:
    """Token counts of a request.

    Of several samples vLLM counts the prompt once for each prompt, and reports the cached tokens of
    the sequence that finished last.
    """

    def __init__(self, settings: Settings, generations: Sequence[Generation], n: int) -> None:
        self._details = settings.flags.enable_prompt_tokens_details
        self._block_tokens = settings.engine.block_tokens
        self._generations = generations
        self.prompt_tokens = sum(len(g.prompt) for g in generations[::n])

    @property
    def cached_tokens(self) -> int:
        return self._generations[-1].cached_tokens or 0

    def whole(self, *, chat: bool) -> dict[str, Any]:
        """Of a plain answer."""
        details = None
        if self._details:
            details = {
                "cached_tokens": self.cached_tokens,
                "created_cache_tokens": self._created() if chat else None,
                "multimodal_tokens": None,
            }
        return {
            **self._counts(),
            "prompt_tokens_details": details,
            "completion_tokens_details": None,
        }

    def last_chunk(self, *, chat: bool) -> dict[str, Any]:
        """Of the chunk before ``[DONE]``."""
        usage = self._counts()
        if self._details:
            details = {"cached_tokens": self.cached_tokens}
            if chat:
                details["created_cache_tokens"] = self._created()
            usage["prompt_tokens_details"] = details
        return usage

    def so_far(self, completion_tokens: int) -> dict[str, Any]:
        """Of every chunk, under ``continuous_usage_stats``."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
            "completion_tokens": completion_tokens,
            "completion_tokens_details": None,
        }

    @property
    def completion_tokens(self) -> int:
        return sum(g.emitted for g in self._generations)

    def _counts(self) -> dict[str, Any]:
        completion_tokens = self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
            "completion_tokens": completion_tokens,
        }

    def _created(self) -> int:
        """Tokens of the prompt's full blocks that were not cached before."""
        prompt_tokens = len(self._generations[-1].prompt)
        return prompt_tokens // self._block_tokens * self._block_tokens - self.cached_tokens


def timing(generations: Sequence[Generation], clock: EngineClock) -> dict[str, Any] | None:
    """``metrics``, in wall milliseconds; None for several sequences.

    As in vLLM the time to first token starts at scheduling: the queue is not in it.
    """
    if len(generations) != 1:
        return None
    (generation,) = generations
    first_ns, last_ns = generation.first_token_ns, generation.last_token_ns
    scheduled_ns = generation.scheduled_ns
    if first_ns is None or last_ns is None or scheduled_ns is None:
        return None
    generation_ms = 1e3 * clock.wall_s(last_ns - first_ns)
    inference_s = clock.wall_s(last_ns - scheduled_ns)
    tokens = generation.emitted
    return {
        "time_to_first_token_ms": 1e3 * clock.wall_s(first_ns - scheduled_ns),
        "generation_time_ms": generation_ms,
        "queue_time_ms": 1e3 * clock.wall_s(scheduled_ns - generation.arrived_ns),
        "mean_itl_ms": generation_ms / (tokens - 1) if tokens > 1 else None,
        "tokens_per_second": tokens / inference_s if inference_s > 0 else None,
    }


class ChoiceText:
    """Text of one sequence, as it becomes known; ends before the stop string."""

    def __init__(self, generation: Generation, stream: TextStream) -> None:
        self._stream = stream
        self._left = generation.plan.text_limit

    def of(self, tokens: Sequence[int]) -> str:
        step = self._stream.step
        text = "".join([step(token) for token in tokens])
        if self._left is not None:
            text = text[: self._left]
            self._left -= len(text)
        return text
