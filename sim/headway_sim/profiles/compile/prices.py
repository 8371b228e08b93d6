"""What every operator of a deployment costs, and from where that is known."""

from typing import Protocol

import numpy as np

from headway_sim.errors import MissingTables
from headway_sim.profiles.compile.operators import (
    ExpertKey,
    Gemm,
    Roofline,
    context_attention,
    custom_all_reduce,
    experts,
    generation_attention,
    nccl_all_reduce,
)
from headway_sim.profiles.compile.source import FoundTable, TableSource
from headway_sim.profiles.compile.table import Floats, Table
from headway_sim.profiles.deployment import Deployment
from headway_sim.profiles.gpus import Gpu
from headway_sim.profiles.versions import Version

Grid = tuple[Floats, Floats, Floats]
"""Batches, tokens of each, milliseconds of one layer [batch, tokens]."""


class Prices(Protocol):
    """Milliseconds of one layer on each GPU; ``tokens`` is [M]."""

    def gemm(self, tokens: Floats, n: int, k: int) -> Floats: ...

    def experts(self, tokens: Floats) -> Floats: ...

    def all_reduce(self, elements: Floats) -> Floats: ...

    def context(self) -> Grid: ...

    def generation(self) -> Grid: ...


class Tabled:
    """From tables, of this GPU or of another one by the ratio of the rooflines."""

    def __init__(
        self, deployment: Deployment, source: TableSource, engine: Version | None, donor: Gpu
    ) -> None:
        if donor.system is None:
            raise MissingTables(
                f"there are no operator tables for {donor.name}: name a GPU to scale from, or take"
                " the roofline"
            )
        self._of = deployment
        self._source = source
        self._system = donor.system
        self._engine = engine
        self._donor = donor
        self._here = Roofline(deployment.gpu, deployment.dtype)
        self._there = Roofline(donor, deployment.dtype)
        self.used: dict[str, FoundTable] = {}
        self.notes: list[str] = []
        self._gemm = Gemm(self._table("gemm"), self._there)

    def gemm(self, tokens: Floats, n: int, k: int) -> Floats:
        ratio = self._here.gemm_ms(tokens, n, k) / self._there.gemm_ms(tokens, n, k)
        return self._gemm(tokens, n, k) * ratio

    def experts(self, tokens: Floats) -> Floats:
        of = self._of
        curve, distribution = experts(self._table("moe"), expert_key(of), of.dtype)
        if distribution != "balanced":
            self.notes.append(f"experts: tokens spread as {distribution}, balanced has no rows")
        # Small batches read the experts' weights, large ones compute: as a matrix product.
        n, k = of.shape.hidden, of.shape.intermediate
        ratio = self._here.gemm_ms(tokens, n, k) / self._there.gemm_ms(tokens, n, k)
        return curve(tokens) * ratio

    def all_reduce(self, elements: Floats) -> Floats:
        gpus = self._of.tensor_parallel
        if self._donor.is_on_pcie and gpus > 2:
            self.notes.append("all-reduce: NCCL over PCIe, whose speed is the host's: calibrate")
            curve = nccl_all_reduce(self._table("nccl", library="nccl"), gpus)
        else:
            curve = custom_all_reduce(self._table("custom_allreduce"), gpus)
            if self._donor.is_on_pcie:
                self.notes.append("all-reduce: over PCIe, whose speed is the host's: calibrate")
        return curve(elements) * (self._donor.link_bytes_per_s / self._of.gpu.link_bytes_per_s)

    def context(self) -> Grid:
        found = context_attention(self._table("context_attention"), *heads(self._of))
        ratio = self._donor.bf16_flops / self._of.gpu.bf16_flops
        return found.batches, found.x, found.grid(found.batches, found.x) * ratio

    def generation(self) -> Grid:
        if self._of.shape.is_multi_head:
            self.notes.append("not validated: multi-head attention, decode is extrapolated")
        found = generation_attention(self._table("generation_attention"), *heads(self._of))
        ratio = self._donor.memory_bytes_per_s / self._of.gpu.memory_bytes_per_s
        return found.batches, found.x, found.grid(found.batches, found.x) * ratio

    def _table(self, op: str, library: str = "vllm") -> Table:
        engine = self._engine if library == "vllm" else None
        found = self._source.find(self._system, op, engine, library)
        if found.is_newer_than_engine:
            self.notes.append(f"{op}: its oldest table, {found.version}, is newer than the engine")
        self.used[op] = found
        return found.rows


class Bounds:
    """From peaks alone."""

    _BATCHES: Floats = np.exp2(np.arange(11, dtype=np.float64))
    _TOKENS: Floats = np.exp2(np.arange(1, 18, dtype=np.float64))

    def __init__(self, deployment: Deployment) -> None:
        self._of = deployment
        self._roofline = Roofline(deployment.gpu, deployment.dtype)

    def gemm(self, tokens: Floats, n: int, k: int) -> Floats:
        return self._roofline.gemm_ms(tokens, n, k)

    def experts(self, tokens: Floats) -> Floats:
        shape, key = self._of.shape, expert_key(self._of)
        here = key.experts // key.expert_parallel
        """Experts on this GPU; few tokens touch few of them."""
        touched = here * (1 - (1 - key.top_k / key.experts) ** tokens)
        each = tokens * key.top_k / key.expert_parallel / touched
        width = key.intermediate // key.tensor_parallel
        up = self._roofline.gemm_ms(each, 2 * width, shape.hidden)
        return touched * (up + self._roofline.gemm_ms(each, shape.hidden, width))

    def all_reduce(self, elements: Floats) -> Floats:
        return self._roofline.all_reduce_ms(elements, self._of.tensor_parallel)

    def context(self) -> Grid:
        batches, tokens = self._BATCHES[:, None], self._TOKENS[None, :]
        nh, _, head_dim = heads(self._of)
        cost = self._roofline.context_ms(batches, tokens, nh, head_dim)
        return self._BATCHES, self._TOKENS, cost

    def generation(self) -> Grid:
        batches, tokens = self._BATCHES[:, None], self._TOKENS[None, :]
        _, nkv, head_dim = heads(self._of)
        cost = self._roofline.generation_ms(batches, tokens, nkv, head_dim)
        return self._BATCHES, self._TOKENS, cost


def heads(of: Deployment) -> tuple[int, int, int]:
    """On each GPU: heads, KV heads; and the width of a head."""
    shape, tp = of.shape, of.tensor_parallel
    return shape.heads // tp, max(1, shape.kv_heads // tp), shape.head_dim


def expert_key(of: Deployment) -> ExpertKey:
    shape, gpus = of.shape, of.tensor_parallel
    return ExpertKey(
        hidden=shape.hidden,
        intermediate=shape.intermediate,
        top_k=shape.experts_per_token,
        experts=shape.experts,
        tensor_parallel=1 if of.expert_parallel else gpus,
        expert_parallel=gpus if of.expert_parallel else 1,
    )
