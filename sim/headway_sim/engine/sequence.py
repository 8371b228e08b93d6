"""A request inside the engine: what the scheduler and the KV cache remember of it."""

import sys
from collections.abc import Iterator
from enum import Enum, auto

from headway_sim.engine.config import EngineConfig
from headway_sim.engine.facts import EngineRequest, FinishReason
from headway_sim.engine.kv_blocks import Block
from headway_sim.errors import InvalidEngineRequest

NEVER = sys.maxsize
"""More tokens than any request has."""


class Phase(Enum):
    WAITING = auto()
    """For its first admission, or for another one after preemption."""
    RUNNING = auto()
    FINISHED = auto()


class Sequence:
    """Progress of one request.  Owned by the scheduler; `KvCache` keeps its blocks."""

    __slots__ = (
        "blocks",
        "capacity",
        "certain_end",
        "computed",
        "end",
        "hashable_blocks",
        "in_flight",
        "next_full",
        "order",
        "phase",
        "preemptions",
        "prefill_end",
        "registered",
        "request",
        "tokens",
    )

    def __init__(
        self, request: EngineRequest, config: EngineConfig, arrived_ns: int, number: int
    ) -> None:
        """Raises: InvalidEngineRequest."""
        _check(request, config)
        self.request = request
        self.order = (request.priority, arrived_ns, number)
        """Rank under the priority policy: lower goes first, the highest is preempted first."""
        self.phase = Phase.WAITING
        self.tokens = request.prompt_tokens
        """Prompt and output known so far (``num_tokens``)."""
        self.computed = 0
        """Tokens whose KV exists or is being computed (``num_computed_tokens``)."""
        self.in_flight = 0
        """Output tokens being computed, not yet known (``num_output_placeholders``)."""
        self.prefill_end = 0
        """Tokens to prefill since the last admission: output so far is prefilled as well."""
        self.end = request.prompt_tokens + request.output_tokens
        """``tokens`` at which it ends."""
        self.certain_end = (
            config.max_model_len if request.finish_reason is FinishReason.STOP else self.end
        )
        """``tokens`` at which the scheduler knows that it ends: it foresees no stop token."""
        self.preemptions = 0
        self.blocks: list[Block] = []
        self.capacity = 0
        """Tokens that its blocks can hold."""
        self.registered = 0
        """Leading blocks that are in the prefix cache."""
        self.hashable_blocks = _hashable_blocks(request, config)
        """Leading blocks that have an identity."""
        self.next_full = NEVER
        """Token that fills its next block to register."""

    @property
    def generated(self) -> int:
        return self.tokens - self.request.prompt_tokens

    def hash_of(self, index: int) -> int:
        """Hash of block ``index`` < ``hashable_blocks``, which must be full."""
        prompt = self.request.block_hashes
        if index < len(prompt):
            return prompt[index]
        output = self.request.output_block_hash
        assert output is not None, "only blocks with an identity are asked for"
        return output(index)

    def hashes(self, count: int) -> Iterator[int]:
        """Hashes of the first ``count`` blocks, as far as they have an identity."""
        return map(self.hash_of, range(min(count, self.hashable_blocks)))


def _hashable_blocks(request: EngineRequest, config: EngineConfig) -> int:
    if not config.prefix_caching:
        return 0
    if request.output_block_hash is None:
        return len(request.block_hashes)
    return config.max_model_len // config.block_tokens


def _check(request: EngineRequest, config: EngineConfig) -> None:
    def refuse(reason: str) -> InvalidEngineRequest:
        return InvalidEngineRequest(request.request_id, reason)

    if request.prompt_tokens < 1:
        raise refuse(f"prompt_tokens must be >= 1, got {request.prompt_tokens}")
    if request.output_tokens < 1:
        raise refuse(f"output_tokens must be >= 1, got {request.output_tokens}")
    total = request.prompt_tokens + request.output_tokens
    if total > config.max_model_len:
        raise refuse(
            f"prompt_tokens + output_tokens must be <= max_model_len = {config.max_model_len},"
            f" got {request.prompt_tokens} + {request.output_tokens}"
        )
    if request.finish_reason is FinishReason.ABORT:
        raise refuse("finish_reason must be 'stop' or 'length'; abort() ends it early")
    full = request.prompt_tokens // config.block_tokens
    hashes = len(request.block_hashes)
    if hashes != full and (hashes > 0 or request.output_block_hash is not None):
        raise refuse(
            f"block_hashes must have one hash for each of the prompt's {full} full blocks of"
            f" {config.block_tokens} tokens (or none, and no output_block_hash), got {hashes}"
        )
