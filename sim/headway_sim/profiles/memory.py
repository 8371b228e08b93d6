"""How many KV blocks fit beside a model's weights.

    available  = memory * utilization - weights - other - nccl              (bytes, per GPU)
    block      = 2 * layers * max(1, kv_heads / tp) * head_dim * 2 * block_tokens
    num_blocks = available // block

``2 *`` stands for keys and values, ``* 2`` for the bytes of bf16.  ``other`` (activations, CUDA
context, graphs) and ``nccl`` are guesses that serve where no real engine has told its
``num_gpu_blocks``.
"""

from collections.abc import Mapping
from types import MappingProxyType

from headway_sim.errors import InvalidProfile
from headway_sim.profiles.deployment import Deployment
from headway_sim.profiles.versions import Version, gpu_memory_utilization

_MIB = 1 << 20

OTHER_BYTES = 3584 * _MIB
"""``misc.other_mem`` of AIConfigurator 0.12.0's GPU sheets (Apache-2.0), equal for all of them."""

NCCL_BYTES: Mapping[int, int] = MappingProxyType(
    {1: 0, 2: 342 * _MIB, 4: 392 * _MIB, 8: 392 * _MIB}
)
"""``misc.nccl_mem`` of the same sheets, by tensor parallel size."""

BLOCK_TOKENS = 16
_LEAST_TOKENS = 2048
"""An engine that holds less is of no use to anybody."""


def kv_blocks(deployment: Deployment, vllm: Version) -> int:
    """``num_gpu_blocks``, the null block included.  Raises: InvalidProfile: it does not fit."""
    shape, tp = deployment.shape, deployment.tensor_parallel
    memory = deployment.gpu.memory_bytes
    weights = shape.weight_bytes(deployment.dtype) // tp
    usable = int(memory * gpu_memory_utilization(vllm))
    available = usable - weights - OTHER_BYTES - NCCL_BYTES[tp]
    blocks = available // (shape.kv_bytes_per_token(tp) * BLOCK_TOKENS)
    if blocks * BLOCK_TOKENS < _LEAST_TOKENS:
        raise InvalidProfile(
            f"{deployment.model_name} does not fit on {tp} x {deployment.gpu.name}:"
            f" {weights / 1e9:.1f} GB of weights on each of {memory / 1e9:.1f} GB leave no room for"
            f" {_LEAST_TOKENS} tokens"
        )
    return blocks
