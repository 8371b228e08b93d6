"""How long one step of an engine takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Protocol

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
