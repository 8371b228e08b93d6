"""How long one step of an engine takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import NamedTuple, Protocol

from headway_sim.errors import InvalidEngineConfig


class DecodeLine(NamedTuple):
    """What steps of nothing but decodes take, in a range of KV tokens:

    seconds = base_s + per_kv_token_s * kv_tokens
    """

    base_s: float
    per_kv_token_s: float
    until_kv_tokens: float = inf
    """The first number of tokens that the line does not hold for."""


class StepModel(Protocol):
    """Prices a batch."""

    def step(
        self, prefill_chunks: Sequence[tuple[int, int]], decodes: int, kv_tokens: int
    ) -> float:
        """Seconds from the start of a step to the start of the next one.

        ``prefill_chunks`` are (new tokens, tokens of that request computed before); ``kv_tokens``
        is what the ``decodes`` find in the KV cache, in all.
        """

    def decode_line(self, decodes: int, kv_tokens: int) -> DecodeLine:
        """What ``step([], decodes, k)`` gives from ``k = kv_tokens`` on, but for rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FourTerm:
    """A step costs a constant and a little for everything in it:

        ms = alpha + beta * prefill tokens + gamma * decodes + delta * kv_tokens + host

    The coefficients come from fits to measured operator tables; ``host_ms`` is the gap between
    two steps in which the CPU prepares the next one.  The form ignores that attention makes late
    chunks of a long prompt dearer: median error 3-6 %, p95 11-26 %, by accelerator and model.
    """

    alpha_ms: float
    beta_ms_per_prefill_token: float
    gamma_ms_per_sequence: float
    delta_ms_per_kv_token: float
    host_ms: float = 0.0

    def __post_init__(self) -> None:
        _require_times(self)

    def step(
        self, prefill_chunks: Sequence[tuple[int, int]], decodes: int, kv_tokens: int
    ) -> float:
        prefill_tokens = sum(new for new, _ in prefill_chunks) if prefill_chunks else 0
        return 1e-3 * (
            self.alpha_ms
            + self.beta_ms_per_prefill_token * prefill_tokens
            + self.gamma_ms_per_sequence * decodes
            + self.delta_ms_per_kv_token * kv_tokens
            + self.host_ms
        )

    def decode_line(self, decodes: int, kv_tokens: int) -> DecodeLine:
        base_ms = self.alpha_ms + self.gamma_ms_per_sequence * decodes + self.host_ms
        return DecodeLine(1e-3 * base_ms, 1e-3 * self.delta_ms_per_kv_token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phased:
    """Prefill and decode are paid apart, each with a constant of its own; both where they mix:

        ms = prefill + per new token + per token computed before      (if anything is prefilled)
           + decode + per KV token                                    (if anything is decoded)

    For accelerators that nobody has tables of, from what is published of each phase.  Tokens
    computed before are what a chunk finds in the cache, so their price is that of loading them.
    """

    prefill_ms: float
    ms_per_prefill_token: float
    ms_per_token_before: float
    decode_ms: float
    ms_per_kv_token: float

    def __post_init__(self) -> None:
        _require_times(self)

    def step(
        self, prefill_chunks: Sequence[tuple[int, int]], decodes: int, kv_tokens: int
    ) -> float:
        ms = self.decode_ms + self.ms_per_kv_token * kv_tokens if decodes else 0.0
        if prefill_chunks:
            ms += self.prefill_ms
            for new, before in prefill_chunks:
                ms += self.ms_per_prefill_token * new + self.ms_per_token_before * before
        return 1e-3 * ms

    def decode_line(self, decodes: int, kv_tokens: int) -> DecodeLine:
        return DecodeLine(1e-3 * self.decode_ms, 1e-3 * self.ms_per_kv_token)


@dataclass(frozen=True, slots=True)
class Dilated:
    """Another model, every step ``factor`` times as long: a straggler, or a demo in slow motion."""

    model: StepModel
    factor: float

    def __post_init__(self) -> None:
        if not (isfinite(self.factor) and self.factor > 0):
            raise InvalidEngineConfig("factor", self.factor, "finite and > 0")

    def step(
        self, prefill_chunks: Sequence[tuple[int, int]], decodes: int, kv_tokens: int
    ) -> float:
        return self.factor * self.model.step(prefill_chunks, decodes, kv_tokens)

    def decode_line(self, decodes: int, kv_tokens: int) -> DecodeLine:
        return stretched(self.model.decode_line(decodes, kv_tokens), self.factor)


def _require_times(model: FourTerm | Phased) -> None:
    for field in model.__slots__:
        value = getattr(model, field)
        if not (isfinite(value) and value >= 0):
            raise InvalidEngineConfig(field, value, "finite and >= 0")


def stretched(line: DecodeLine, factor: float) -> DecodeLine:
    """Every step ``factor`` times as long."""
    if factor == 1:
        return line
    return DecodeLine(factor * line.base_s, factor * line.per_kv_token_s, line.until_kv_tokens)
