"""vLLM's versions, and what an engine without flags does by version.

Known from the sources of 0.15.1 and 0.32.0.  Where in between a default has changed is not pinned:
everything before 0.32 is taken for 0.15's.
"""

import re
from dataclasses import replace
from typing import NewType

from headway_sim.engine.config import BATCH_DEFAULTS, EngineConfig
from headway_sim.errors import InvalidProfile

Version = NewType("Version", tuple[int, ...])

NEWEST = Version((0, 32, 0))
"""The engine that is simulated unless another one is named."""


def version(text: str) -> Version:
    """``0.15.1``; ``0.32`` is ``0.32.0``.  Raises: InvalidProfile."""
    found = re.fullmatch(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if found is None:
        raise InvalidProfile(f"a vLLM version looks like 0.32 or 0.15.1, got {text!r}")
    return Version(tuple(int(part or 0) for part in found.groups()))


def text_of(known: Version) -> str:
    return ".".join(map(str, known))


def gpu_memory_utilization(vllm: Version) -> float:
    return 0.92 if vllm >= NEWEST else 0.90


def engine_defaults(accelerator: str, vllm: Version, num_blocks: int, longest: int) -> EngineConfig:
    """``longest`` is the model's; the engine's is cut to what it can hold."""
    is_old = vllm < NEWEST
    defaults = BATCH_DEFAULTS[accelerator]
    config = EngineConfig(
        num_blocks=num_blocks,
        max_num_seqs=defaults.max_num_seqs,
        max_num_batched_tokens=(
            min(defaults.max_num_batched_tokens, 8192)
            if is_old
            else defaults.max_num_batched_tokens
        ),
        max_model_len=2,
        reserve_full_prompt=not is_old,
        unhashed_free_to_front=not is_old,
    )
    return replace(config, max_model_len=min(longest, config.kv_tokens))


def sorts_for_top_p(vllm: Version) -> bool:
    """Later ones have a kernel that finds the threshold without a sort (``v1/sample/ops``)."""
    return vllm < _FIRST_WITHOUT_SORT


def largest_graph(max_num_seqs: int, accelerator: str) -> int:
    """Tokens of the largest batch that vLLM captures as a CUDA graph."""
    return min(2 * max_num_seqs, 1024 if accelerator in _BLACKWELL_DATACENTRE else 512)


def graph_sizes(largest: int) -> list[int]:
    """Batches are padded to the next of these, as far as they go (``config/vllm.py``)."""
    sizes = [1, 2, 4, *range(8, 256, 8), *range(256, largest + 1, 16)]
    return [size for size in sizes if size <= largest]


_FIRST_WITHOUT_SORT = Version((0, 16, 0))
"""0.15.1 sorts; when exactly that ended is not pinned."""

_BLACKWELL_DATACENTRE = frozenset({"B200", "B300", "GB200", "GB300"})
