"""The step model from compiled operator tables.

    T = gemm[m] + communication[m] + context(chunks) + decode(n, kv) + sampler[sampled] + host

with m = all new tokens, padded to the next CUDA graph.  Decode is linear in KV tokens between two
points of the table, and linear in ln n in between batches.

Chunks are one launch of the attention kernel.  For chunks (q, p), s = q + p, it is priced as that
many equal prompts whose squares sum to the same, less the part that was computed before:

    context = table(count, sqrt(mean s^2)) * sum(s^2 - p^2) / sum s^2

No table has the sort of all logits by which older engines sample with top-p.  ML.ENERGY's runs of
Llama-3.1-8B and 70B and Qwen3-14B on H100 (github.com/ml-energy/leaderboard at 0cd52dab; time per
token at 16 to 256 requests) leave 2.0 to 2.8 billion logits per second for it, the same for a small
model and a large one; other GPUs are taken to sort in proportion to their memory's bandwidth.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, inf, log, sqrt

import numpy as np

from headway_sim.profiles.constants import Constants
from headway_sim.profiles.tables import Floats, StepTables
from headway_sim.profiles.versions import graph_sizes
from headway_sim.step_model import DecodeLine

_Segments = tuple[list[float], list[DecodeLine]]
"""Lower ends in KV tokens, and the line from each."""


SORTED_LOGITS_PER_BYTE = 2.5e9 / 3.35e12
"""Of memory bandwidth."""


@dataclass(frozen=True, slots=True)
class Mode:
    """What an engine does with its kernels."""

    largest_graph: int
    """Tokens."""
    sorts_logits: bool = False


@lru_cache(maxsize=256)
def operator_step(tables: StepTables, constants: Constants, mode: Mode) -> "OperatorStep":
    """Engines that are alike share one."""
    return OperatorStep(tables, constants, mode)


class OperatorStep:
    """Prices steps from tables.  Immutable for its users; it remembers what it has worked out."""

    def __init__(self, tables: StepTables, constants: Constants, mode: Mode) -> None:
        self.tables = tables
        self.constants = constants
        self.mode = mode
        self._linear_ms = _LinearCosts(tables, constants, mode.largest_graph)
        sampler_ms = constants.theta_gemm * tables.sampler_ms
        if mode.sorts_logits:
            sampler_ms = sampler_ms + tables.sampled * _sort_ms_per_sequence(tables)
        self._sampler_ms = _Interpolated(tables.sampled, sampler_ms)
        self._context = _Context(tables, constants.theta_attention)
        self._decode_ms = constants.theta_attention * tables.decode_ms
        self._lines: dict[int, _Segments] = {}

    def with_constants(self, constants: Constants) -> "OperatorStep":
        return operator_step(self.tables, constants, self.mode)

    def step(
        self, prefill_chunks: Sequence[tuple[int, int]], decodes: int, kv_tokens: int
    ) -> float:
        if not prefill_chunks:
            base_s, per_kv_token_s, _ = self.decode_line(decodes, kv_tokens)
            return base_s + per_kv_token_s * kv_tokens
        sequences = len(prefill_chunks) + decodes
        tokens = decodes + sum(new for new, _ in prefill_chunks)
        ms = (
            self._linear_ms[tokens]
            + self._sampler_ms[sequences]
            + self._context.ms(prefill_chunks)
            + self.constants.host_ms(sequences)
        )
        seconds = 1e-3 * ms
        if decodes:
            attention = self._attention(decodes, kv_tokens)
            seconds += attention.base_s + attention.per_kv_token_s * kv_tokens
        return seconds

    def decode_line(self, decodes: int, kv_tokens: int) -> DecodeLine:
        fixed_ms = (
            self._linear_ms[decodes] + self._sampler_ms[decodes] + self.constants.host_ms(decodes)
        )
        if decodes == 0:
            return DecodeLine(1e-3 * fixed_ms, 0.0, inf)
        base_s, per_kv_token_s, until = self._attention(decodes, kv_tokens)
        return DecodeLine(base_s + 1e-3 * fixed_ms, per_kv_token_s, until)

    def _attention(self, decodes: int, kv_tokens: int) -> DecodeLine:
        segments = self._lines.get(decodes)
        if segments is None:
            segments = self._lines[decodes] = self._segments(decodes)
        starts, lines = segments
        return lines[bisect_right(starts, kv_tokens) - 1]

    def _segments(self, decodes: int) -> _Segments:
        tables = self.tables
        ms = [_between_batches(tables.decode_batches, c, decodes) for c in self._decode_ms.T]
        kv = [decodes * tokens for tokens in tables.decode_kv_tokens.tolist()]
        starts, lines = [0.0], [DecodeLine(1e-3 * ms[0], 0.0, kv[0])]
        for left in range(len(kv) - 1):
            slope = (ms[left + 1] - ms[left]) / (kv[left + 1] - kv[left])
            until = kv[left + 1] if left + 2 < len(kv) else inf
            starts.append(kv[left])
            lines.append(DecodeLine(1e-3 * (ms[left] - slope * kv[left]), 1e-3 * slope, until))
        return starts, lines


def _sort_ms_per_sequence(tables: StepTables) -> float:
    of = tables.about.deployment
    return 1e3 * of.shape.vocabulary / (SORTED_LOGITS_PER_BYTE * of.gpu.memory_bytes_per_s)


def _between_batches(batches: Floats, ms: Floats, batch: int) -> float:
    """A power law between measured batch sizes; proportional beyond the largest."""
    if batch >= batches[-1]:
        return float(ms[-1] * batch / batches[-1])
    return exp(float(np.interp(log(batch), np.log(batches), np.log(ms))))


class _Interpolated:
    """A list over 0, 1, 2, ..., linear between points, and beyond them as long as it goes."""

    def __init__(self, at: Floats, ms: Floats, first: Sequence[float] = ()) -> None:
        self._slope = float((ms[-1] - ms[-2]) / (at[-1] - at[-2]))
        self._ms = np.interp(np.arange(int(at[-1]) + 1), at, ms).tolist()
        self._ms[: len(first)] = first

    def __getitem__(self, index: int) -> float:
        if index < len(self._ms):
            return float(self._ms[index])
        return float(self._ms[-1] + self._slope * (index - len(self._ms) + 1))


class _LinearCosts(_Interpolated):
    """What depends on the number of tokens alone, padded as far as there are graphs."""

    def __init__(self, tables: StepTables, constants: Constants, largest_graph: int) -> None:
        ms = (
            constants.theta_gemm * (tables.gemm_ms + tables.elementwise_ms)
            + constants.theta_communication * tables.communication_ms
        )
        sizes = np.array(graph_sizes(largest_graph))
        padded = sizes[np.searchsorted(sizes, np.arange(sizes[-1] + 1))]
        super().__init__(tables.tokens, ms, np.interp(padded, tables.tokens, ms).tolist())


class _Context:
    """Attention of chunks over their context."""

    def __init__(self, tables: StepTables, theta: float) -> None:
        self._ln_batches = np.log(tables.context_batches).tolist()
        self._ln_tokens = np.log(tables.context_tokens).tolist()
        self._ln_ms = np.log(theta * tables.context_ms).tolist()

    def ms(self, chunks: Sequence[tuple[int, int]]) -> float:
        squares = sum((new + done) ** 2 for new, done in chunks)
        work = sum(new * (new + 2 * done) for new, done in chunks)
        count = len(chunks)
        alike = self._prompts_ms(count, sqrt(squares / count))
        return alike * work / squares

    def _prompts_ms(self, count: int, tokens: float) -> float:
        row, share, beyond = _place(self._ln_batches, log(count))
        low = self._row_ms(row, log(tokens))
        if share == 0.0:
            return exp(low + beyond)
        return exp(low + share * (self._row_ms(row + 1, log(tokens)) - low))

    def _row_ms(self, row: int, ln_tokens: float) -> float:
        """Beyond the longest measured prompt it grows with the square."""
        costs = self._ln_ms[row]
        column, share, beyond = _place(self._ln_tokens, ln_tokens)
        if share == 0.0:
            return float(costs[column] + 2 * beyond)
        return float(costs[column] + share * (costs[column + 1] - costs[column]))


def _place(axis: list[float], at: float) -> tuple[int, float, float]:
    """Index of the point at or below, share of the way to the next, distance beyond the last."""
    if at >= axis[-1]:
        return len(axis) - 1, 0.0, at - axis[-1]
    left = bisect_right(axis, at) - 1
    if left < 0:
        return 0, 0.0, 0.0
    return left, (at - axis[left]) / (axis[left + 1] - axis[left]), 0.0
