"""What an engine is configured with, and vLLM's defaults by accelerator."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from headway_sim.errors import InvalidEngineConfig


class SchedulingPolicy(StrEnum):
    FCFS = "fcfs"
    """By arrival; a preempted request goes back to the front."""
    PRIORITY = "priority"
    """By (priority, arrival), lower first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """The settings of a vLLM V1 engine that its scheduler reads, under vLLM's own names.

    Raises: InvalidEngineConfig: naming the field, the value and what is allowed.
    """

    num_blocks: int
    """KV blocks in all.  Block 0 is a null block, so ``num_blocks - 1`` can hold tokens."""
    max_num_seqs: int
    max_num_batched_tokens: int
    """Token budget of a step."""
    max_model_len: int
    """Prompt and output together, at most."""
    block_tokens: int = 16
    host_blocks: int = 0
    """Blocks of a KV tier in the host's memory: they keep content to be found again, in the same
    order of eviction, and no live request lives in them.  What a hit costs is the step model's."""
    prefix_caching: bool = True
    async_scheduling: bool = True
    """Compose the next batch while the current one runs."""
    policy: SchedulingPolicy = SchedulingPolicy.FCFS
    reserve_full_prompt: bool = True
    """``scheduler_reserve_full_isl``: admit only if the whole prompt fits now (since 0.32)."""
    long_prefill_threshold: int = 0
    """Most prompt tokens of one request in a step; 0: only the budget limits it.

    As in 0.32 it does not apply to a request that is alone in the engine.
    """
    max_loras: int = 0
    """Adapters that one step can mix; 0: not limited."""
    unhashed_free_to_front: bool = True
    """True (0.32): freed blocks without a hash are reused first.  False (0.15): in turn."""

    def __post_init__(self) -> None:
        for field in ("max_num_seqs", "max_num_batched_tokens", "block_tokens"):
            self._require(field, ">= 1", getattr(self, field) >= 1)
        self._require("num_blocks", ">= 2 (block 0 is a null block)", self.num_blocks >= 2)
        self._require("max_model_len", ">= 2", self.max_model_len >= 2)
        for field in ("long_prefill_threshold", "max_loras", "host_blocks"):
            self._require(field, ">= 0", getattr(self, field) >= 0)
        policies = " or ".join(repr(str(p)) for p in SchedulingPolicy)
        self._require("policy", policies, self.policy in set(SchedulingPolicy))
        # One request must always fit when it is alone, or the engine could stall for ever.
        capacity = self.kv_tokens
        allowed = f"<= {capacity}, what (num_blocks - 1) * block_tokens can hold"
        self._require("max_model_len", allowed, self.max_model_len <= capacity)

    def _require(self, field: str, allowed: str, ok: bool) -> None:
        if not ok:
            raise InvalidEngineConfig(field, getattr(self, field), allowed)

    @property
    def kv_tokens(self) -> int:
        """Tokens that live requests can hold."""
        return (self.num_blocks - 1) * self.block_tokens

    @property
    def cached_tokens(self) -> int:
        """Tokens of content that can be found again, the host's tier included."""
        return (self.num_blocks + self.host_blocks) * self.block_tokens


@dataclass(frozen=True, slots=True)
class BatchDefaults:
    """What vLLM's API server takes when the user names no batch limits."""

    max_num_batched_tokens: int
    max_num_seqs: int


_HUGE = BatchDefaults(16384, 1024)
"""Memory >= 160 GiB."""
_LARGE = BatchDefaults(8192, 1024)
"""Memory >= 70 GiB, and neither A100 nor GB10."""
_OTHER = BatchDefaults(2048, 256)

BATCH_DEFAULTS: Mapping[str, BatchDefaults] = MappingProxyType(
    {
        "B200": _HUGE,
        "B300": _HUGE,
        "GB200": _HUGE,
        "GB300": _HUGE,
        "H100": _LARGE,
        "H200": _LARGE,
        "MI300X": _HUGE,
        "RTX-PRO-6000": _LARGE,
        "A100": _OTHER,
        "GB10": _OTHER,
        "L40S": _OTHER,
        "CPU": _OTHER,
    }
)
"""By accelerator, for vLLM 0.32 and 0.33 (``vllm/engine/arg_utils.py``)."""
