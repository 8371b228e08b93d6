"""Prices of the operators of a layer, in milliseconds, from their tables.

Where several kernels were measured for a shape, vLLM's choice is taken to be the fastest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headway_sim.errors import MissingTables
from headway_sim.profiles.compile.curves import Curve, Surface, least
from headway_sim.profiles.compile.table import Floats, Table
from headway_sim.profiles.gpus import Gpu
from headway_sim.profiles.models import WeightDtype

Price = Callable[[Floats], Floats]
"""Tokens of a batch -> milliseconds."""

_NEIGHBOURS = 4
_WEIGHT_BYTES = {WeightDtype.BF16: 2, WeightDtype.FP8: 1}
_TABLE_DTYPE = {WeightDtype.BF16: "bfloat16", WeightDtype.FP8: "fp8"}


@dataclass(frozen=True, slots=True)
class Roofline:
    """The least time that a GPU's peaks allow."""

    gpu: Gpu
    dtype: WeightDtype

    def gemm_ms(self, m: Floats, n: int, k: int) -> Floats:
        peak = self.gpu.bf16_flops if self.dtype is WeightDtype.BF16 else self.gpu.fp8_flops
        assert peak is not None, "a deployment has checked it"
        width = _WEIGHT_BYTES[self.dtype]
        moved = (m * k + n * k) * width + 2 * m * n
        return 1e3 * np.maximum(2 * m * n * k / peak, moved / self.gpu.memory_bytes_per_s)

    def context_ms(self, batch: Floats, tokens: Floats, heads: int, head_dim: int) -> Floats:
        """Causal attention: half of the square."""
        return 1e3 * 2 * batch * heads * head_dim * tokens**2 / self.gpu.bf16_flops

    def generation_ms(self, batch: Floats, kv: Floats, kv_heads: int, head_dim: int) -> Floats:
        """Reads keys and values once."""
        return 1e3 * 4 * batch * kv * kv_heads * head_dim / self.gpu.memory_bytes_per_s

    def all_reduce_ms(self, elements: Floats, gpus: int) -> Floats:
        """A ring: every byte but a share of 1 / gpus goes out twice."""
        return 1e3 * 4 * elements * (gpus - 1) / gpus / self.gpu.link_bytes_per_s


class Gemm:
    """ln (latency / roofline) is linear in ln m between measurements, constant outside.

    A shape (n, k) that was not measured is the mean of its four neighbours, by distance.
    """

    def __init__(self, table: Table, roofline: Roofline) -> None:
        rows = table.where(gemm_dtype=_TABLE_DTYPE[roofline.dtype])
        if len(rows) == 0:
            raise MissingTables(f"{table.name} has no {roofline.dtype} kernels")
        self._roofline = roofline
        points: dict[tuple[float, float], dict[float, float]] = {}
        columns = (rows.numbers(name).tolist() for name in ("n", "k", "m", "latency"))
        for n, k, m, latency in zip(*columns, strict=True):
            known = points.setdefault((n, k), {})
            known[m] = min(latency, known.get(m, latency))
        self._points = points
        self._shapes = list(points)
        self._ln_shapes = np.log(np.array(self._shapes))

    def __call__(self, m: Floats, n: int, k: int) -> Floats:
        if (n, k) in self._points:
            efficiency = self._ln_over_roofline(m, (n, k))
        else:
            distance = ((self._ln_shapes - np.log([n, k])) ** 2).sum(axis=1)
            nearest = np.argsort(distance, kind="stable")[:_NEIGHBOURS]
            curves = [self._ln_over_roofline(m, self._shapes[i]) for i in nearest]
            efficiency = np.average(curves, axis=0, weights=1 / (distance[nearest] + 1e-6))
        return self._roofline.gemm_ms(m, n, k) * np.exp(efficiency)

    def _ln_over_roofline(self, m: Floats, shape: tuple[float, float]) -> Floats:
        points = self._points[shape]
        ms = np.array(sorted(points))
        bound = self._roofline.gemm_ms(ms, int(shape[0]), int(shape[1]))
        r = np.log(np.array([points[at] for at in ms.tolist()]) / bound)
        return np.interp(np.log(m), np.log(ms), r)


def context_attention(table: Table, heads: int, kv_heads: int, head_dim: int) -> Surface:
    """Batch x prompt tokens; beyond the longest prompt it grows with the square."""
    rows, factor = _heads(table, heads, kv_heads, head_dim, scales_with_heads=True)
    latency = rows.numbers("latency") * factor
    return Surface(rows.numbers("batch_size"), rows.numbers("isl"), latency, slope=2.0)


def generation_attention(table: Table, heads: int, kv_heads: int, head_dim: int) -> Surface:
    """Batch x KV tokens of each request."""
    rows, factor = _heads(table, heads, kv_heads, head_dim, scales_with_heads=False)
    kv = rows.numbers("isl") + rows.numbers("step")
    return Surface(rows.numbers("batch_size"), kv, rows.numbers("latency") * factor, slope=1.0)


def _heads(
    table: Table, heads: int, kv_heads: int, head_dim: int, *, scales_with_heads: bool
) -> tuple[Table, float]:
    """Rows of the nearest head configuration, and what to multiply them with."""
    rows = table.where(head_dim=head_dim, kv_cache_dtype="bfloat16")
    if rows.has("window_size"):
        rows = rows.where(window_size=0)
    if len(rows) == 0:
        raise MissingTables(f"{table.name} has no attention of head_dim {head_dim} over bf16")
    nh, nkv = rows.numbers("num_heads"), rows.numbers("num_key_value_heads")
    distance = np.log(nh / heads) ** 2 + 3 * np.log(nkv / kv_heads) ** 2
    at = int(np.argmin(distance))
    found_heads, found_kv_heads = nh[at], nkv[at]
    rows = rows.where(num_heads=found_heads, num_key_value_heads=found_kv_heads)
    if scales_with_heads:
        return rows, heads / found_heads
    return rows, max(kv_heads / found_kv_heads, 1.0)


def custom_all_reduce(table: Table, gpus: int) -> Curve:
    """Over elements, as inside a CUDA graph."""
    rows = table.where(backend="vllm_graph", num_gpus=gpus)
    return _messages(rows, gpus)


def nccl_all_reduce(table: Table, gpus: int) -> Curve:
    """Over elements."""
    rows = table.where(op_name="all_reduce", nccl_dtype="half", num_gpus=gpus)
    return _messages(rows, gpus)


def _messages(rows: Table, gpus: int) -> Curve:
    if len(rows) == 0:
        raise MissingTables(f"{rows.name} has no all-reduce over {gpus} GPUs")
    return Curve(least(rows.numbers("message_size"), rows.numbers("latency")), slope=1.0)


@dataclass(frozen=True, slots=True)
class ExpertKey:
    """The measured shape of a layer of experts."""

    hidden: int
    intermediate: int
    top_k: int
    experts: int
    tensor_parallel: int
    expert_parallel: int


def experts(table: Table, key: ExpertKey, dtype: WeightDtype) -> tuple[Curve, str]:
    """Over tokens, and which spread of tokens over experts was measured: balanced if it was."""
    rows = table.where(
        moe_dtype=_TABLE_DTYPE[dtype],
        hidden_size=key.hidden,
        inter_size=key.intermediate,
        topk=key.top_k,
        num_experts=key.experts,
        moe_tp_size=key.tensor_parallel,
        moe_ep_size=key.expert_parallel,
    )
    for distribution in ("balanced", "power_law_1.01", "power_law_1.2"):
        found = rows.where(distribution=distribution)
        if len(found) > 0:
            points = least(found.numbers("num_tokens"), found.numbers("latency"))
            return Curve(points, slope=1.0), distribution
    raise MissingTables(f"{table.name} has no {dtype} rows for {key}")
