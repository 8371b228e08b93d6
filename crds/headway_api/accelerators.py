"""What an accelerator's name tells: defaults for a group that declares no capacity."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accelerator:
    prefill_ms_per_token: float
    """Of Llama-3.1-8B on one accelerator; only ratios of it are used."""
    batch_tokens: int
    """vLLM's default ``max_num_batched_tokens`` for an API server."""


FAMILIES = {
    "a100": Accelerator(0.0595, 2048),
    "b200": Accelerator(0.0095, 16_384),
    "h100": Accelerator(0.0182, 8192),
    "h200": Accelerator(0.0182, 8192),
    "l40s": Accelerator(0.0558, 2048),
    "rtx-pro-6000": Accelerator(0.0434, 8192),
}
"""Milliseconds per prompt token: slope of a linear fit (step time over prompt tokens, sequences
and KV tokens) to the operator tables of NVIDIA AIConfigurator (Apache-2.0) for bf16 on vLLM 0.19.0
(A100 and L40S: 0.14.0).  Batch tokens: vLLM 0.32 takes 16,384 from 160 GiB of memory, 8,192 from
70 GiB except on A100, else 2,048."""

DEFAULT_BATCH_TOKENS = 2048


def family(accelerator_type: str | None) -> Accelerator | None:
    """``nvidia-h100-80gb-hbm3`` and ``h100`` are an H100.  None: not in the table."""
    if accelerator_type is None:
        return None
    parts = f"-{accelerator_type}-"
    return next((known for name, known in FAMILIES.items() if f"-{name}-" in parts), None)


def batch_tokens(accelerator_type: str | None) -> int:
    known = family(accelerator_type)
    return known.batch_tokens if known else DEFAULT_BATCH_TOKENS


def relative_prefill_rate(accelerator_type: str | None, measure: str | None) -> float:
    """Prompt tokens per second of one type over those of ``measure``; 1.0 if either is unknown."""
    one, other = family(accelerator_type), family(measure)
    if one is None or other is None:
        return 1.0
    return other.prefill_ms_per_token / one.prefill_ms_per_token
