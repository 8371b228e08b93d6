"""How long one step of an engine takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import NamedTuple, Protocol, runtime_checkable

from headway_sim.errors import InvalidEngineConfig


class StepModel(Protocol):
    """Prices a batch."""

    def step(
        self, prefill_chunks: Sequence[tuple[int, int]], decodes: int, kv_tokens: int
    ) -> float:
        """Seconds from the start of a step to the start of the next one.

        ``prefill_chunks`` are (new tokens, tokens of that request computed before); ``kv_tokens``
        is what the ``decodes`` find in the KV cache, in all.
        """


class DecodeLine(NamedTuple):
    """What steps of nothing but a fixed number of decodes cost, as long as they find between the
    KV tokens asked for and ``until_kv_tokens`` (inf: any number):

        seconds = base_s + per_kv_token_s * kv_tokens
    """

    base_s: float
    per_kv_token_s: float
    until_kv_tokens: float


@runtime_checkable
class LinearDecode(StepModel, Protocol):
    """A step model whose decodes have a closed form; ``step([], n, kv)`` lies on the line."""

    def decode_line(self, decodes: int, kv_tokens: int) -> DecodeLine: ...


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
        for field in self.__slots__:
            value = getattr(self, field)
            if not (isfinite(value) and value >= 0):
                raise InvalidEngineConfig(field, value, "finite and >= 0")

    def step(
        self, prefill_chunks: Sequence[tuple[int, int]], decodes: int, kv_tokens: int
    ) -> float:
        prefill_tokens = sum(new for new, _ in prefill_chunks)
        return 1e-3 * (
            self.alpha_ms
            + self.beta_ms_per_prefill_token * prefill_tokens
            + self.gamma_ms_per_sequence * decodes
            + self.delta_ms_per_kv_token * kv_tokens
            + self.host_ms
        )

    def decode_line(self, decodes: int, kv_tokens: int) -> DecodeLine:
        del kv_tokens  # One line for all.
        return DecodeLine(self.step([], decodes, 0), 1e-3 * self.delta_ms_per_kv_token, inf)


@dataclass(frozen=True, slots=True)
class Dilated:
    """Another model, every step ``factor`` times as long: a straggler, or a demo in slow motion."""

    model: LinearDecode
    factor: float

    def __post_init__(self) -> None:
        if not (isfinite(self.factor) and self.factor > 0):
            raise InvalidEngineConfig("factor", self.factor, "finite and > 0")

    def step(
        self, prefill_chunks: Sequence[tuple[int, int]], decodes: int, kv_tokens: int
    ) -> float:
        return self.factor * self.model.step(prefill_chunks, decodes, kv_tokens)

    def decode_line(self, decodes: int, kv_tokens: int) -> DecodeLine:
        base_s, per_kv_token_s, until = self.model.decode_line(decodes, kv_tokens)
        return DecodeLine(self.factor * base_s, self.factor * per_kv_token_s, until)
