"""How many KV blocks fit beside a model's weights.

    available  = memory * utilization - weights - other - nccl              (bytes, per GPU)
    block      = 2 * layers * max(1, kv_heads / tp) * head_dim * 2 * block_tokens
    num_blocks = available // block

``2 *`` stands for keys and values, ``* 2`` for the bytes of bf16.  ``other`` (activations, CUDA
context, graphs) and ``nccl`` are guesses that serve where no real engine has told its
``num_gpu_blocks``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

GPU_MEMORY_UTILIZATION = 0.92
"""vLLM 0.32's default."""
BF16_BYTES = 2

_GIB = 1 << 30
_MIB = 1 << 20

MEMORY_BYTES: Mapping[str, int] = MappingProxyType(
    {
        "A100": 80 * _GIB,
        "B200": 180 * _GIB,
        "H100": 80 * _GIB,
        "H200": 141 * _GIB,
        "L40S": 46068 * _MIB,
        "RTX-PRO-6000": 97887 * _MIB,
    }
)
"""``gpu.mem_capacity`` of AIConfigurator 0.12.0's GPU sheets (Apache-2.0)."""

OTHER_BYTES = 3584 * _MIB
"""``misc.other_mem`` of the same sheets, equal for all of these GPUs."""

NCCL_BYTES: Mapping[int, int] = MappingProxyType(
    {1: 0, 2: 342 * _MIB, 4: 392 * _MIB, 8: 392 * _MIB}
)
"""``misc.nccl_mem`` by tensor parallel size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """A dense decoder with grouped-query attention and a gated MLP, untied embeddings, bf16."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    max_model_len: int

    @property
    def parameters(self) -> int:
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        mlp = 3 * self.hidden * self.intermediate
        norms = 2 * self.hidden
        embeddings = 2 * self.vocabulary * self.hidden
        return self.layers * (attention + mlp + norms) + embeddings + self.hidden

    def kv_bytes_per_token(self, tensor_parallel: int) -> int:
        """On each GPU."""
        kv_heads = max(1, self.kv_heads // tensor_parallel)
        return 2 * self.layers * kv_heads * self.head_dim * BF16_BYTES


LLAMA_3_1_8B = ModelShape(
    layers=32,
    hidden=4096,
    heads=32,
    kv_heads=8,
    head_dim=128,
    intermediate=14336,
    vocabulary=128256,
    max_model_len=131072,
)
LLAMA_3_1_70B = ModelShape(
    layers=80,
    hidden=8192,
    heads=64,
    kv_heads=8,
    head_dim=128,
    intermediate=28672,
    vocabulary=128256,
    max_model_len=131072,
)


def kv_blocks(
    accelerator: str, shape: ModelShape, tensor_parallel: int, block_tokens: int = 16
) -> int:
    """``num_gpu_blocks``, the null block included."""
    weights = shape.parameters * BF16_BYTES // tensor_parallel
    usable = int(MEMORY_BYTES[accelerator] * GPU_MEMORY_UTILIZATION)
    available = usable - weights - OTHER_BYTES - NCCL_BYTES[tensor_parallel]
    return available // (shape.kv_bytes_per_token(tensor_parallel) * block_tokens)
