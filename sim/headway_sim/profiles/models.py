"""Shapes of models: decoders with grouped-query attention and gated MLPs, dense or of experts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from headway_sim.errors import UnknownName

BF16_BYTES = 2


class WeightDtype(StrEnum):
    BF16 = "bf16"
    FP8 = "fp8"
    """Linear layers, weights and activations; embeddings, attention and KV cache stay bf16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Embeddings and output head are two matrices, as in all of `MODELS`."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    """Of the MLP, or of each expert."""
    vocabulary: int
    max_model_len: int
    experts: int = 0
    """0: dense."""
    experts_per_token: int = 0
    samples_top_p: bool = False
    """Its ``generation_config.json`` has a top_p, which vLLM's server takes as its default."""

    @property
    def is_multi_head(self) -> bool:
        """Every head has its own keys: the tables have no such shapes, prices are extrapolated."""
        return self.kv_heads == self.heads

    @property
    def linear_parameters(self) -> int:
        """Of the layers' matrices, which FP8 halves."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        mlp = 3 * self.hidden * self.intermediate * max(1, self.experts)
        return self.layers * (attention + mlp)

    @property
    def parameters(self) -> int:
        router = self.hidden * self.experts
        norms = 2 * self.hidden
        embeddings = 2 * self.vocabulary * self.hidden
        return self.linear_parameters + self.layers * (router + norms) + embeddings + self.hidden

    def weight_bytes(self, dtype: WeightDtype) -> int:
        saved = self.linear_parameters if dtype is WeightDtype.FP8 else 0
        return self.parameters * BF16_BYTES - saved

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
    samples_top_p=True,
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
    samples_top_p=True,
)
_QWEN3_14B = ModelShape(
    layers=40,
    hidden=5120,
    heads=40,
    kv_heads=8,
    head_dim=128,
    intermediate=17408,
    vocabulary=151936,
    max_model_len=40960,
    samples_top_p=True,
)
_MIXTRAL_8X7B = ModelShape(
    layers=32,
    hidden=4096,
    heads=32,
    kv_heads=8,
    head_dim=128,
    intermediate=14336,
    vocabulary=32000,
    max_model_len=32768,
    experts=8,
    experts_per_token=2,
)

MODELS: Mapping[str, ModelShape] = MappingProxyType(
    {
        "CodeLlama-34B": ModelShape(
            layers=48,
            hidden=8192,
            heads=64,
            kv_heads=8,
            head_dim=128,
            intermediate=22016,
            vocabulary=32000,
            max_model_len=16384,
        ),
        "Llama-2-70B": replace(LLAMA_3_1_70B, vocabulary=32000, max_model_len=4096),
        "Llama-2-7B": ModelShape(
            layers=32,
            hidden=4096,
            heads=32,
            kv_heads=32,
            head_dim=128,
            intermediate=11008,
            vocabulary=32000,
            max_model_len=4096,
            samples_top_p=True,
        ),
        "Llama-3.1-70B": LLAMA_3_1_70B,
        "Llama-3.1-8B": LLAMA_3_1_8B,
        "Mixtral-8x22B": replace(
            _MIXTRAL_8X7B,
            layers=56,
            hidden=6144,
            heads=48,
            intermediate=16384,
            vocabulary=32768,
            max_model_len=65536,
        ),
        "Mixtral-8x7B": _MIXTRAL_8X7B,
        "Qwen3-14B": _QWEN3_14B,
        "Qwen3-32B": replace(_QWEN3_14B, layers=64, heads=64, intermediate=25600),
    }
)


def model(name: str) -> ModelShape:
    """By exact name.  Raises: UnknownName."""
    try:
        return MODELS[name]
    except KeyError:
        raise UnknownName("model", name, MODELS) from None
