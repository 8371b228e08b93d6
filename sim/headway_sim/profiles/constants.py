"""What operator tables do not know: the host, the API server, and how far a GPU is off its tables.

step(...)  = theta_gemm * (gemm + elementwise + sampler) + theta_attention * attention
           + theta_communication * all-reduce
           + theta_host * (step_ms + step_ms_per_sequence * sequences)
api(...)   = api_ms + api_ms_per_prompt_token * prompt tokens        before the engine sees it
"""

import json
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path

from headway_sim.errors import InvalidProfile

_TEXT = "source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """Milliseconds and factors, all finite and >= 0.  Raises: InvalidProfile."""

    theta_gemm: float = 1.0
    theta_attention: float = 1.0
    theta_communication: float = 1.0
    theta_host: float = 1.0
    step_ms: float = 0.0
    """Between two steps on the CPU, as far as asynchronous scheduling does not hide it."""
    step_ms_per_sequence: float = 0.0
    api_ms: float = 0.0
    """HTTP client and server; not there if times are taken inside the engine."""
    api_ms_per_prompt_token: float = 0.0
    source: str = "none"

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if name == _TEXT:
                if not isinstance(value, str):
                    raise InvalidProfile(f"{name} must be text, got {value!r}")
            elif type(value) not in (int, float) or not (isfinite(value) and value >= 0):
                raise InvalidProfile(f"{name} must be a finite number >= 0, got {value!r}")

    def host_ms(self, sequences: int) -> float:
        return self.theta_host * (self.step_ms + self.step_ms_per_sequence * sequences)

    def api_s(self, prompt_tokens: int) -> float:
        return 1e-3 * (self.api_ms + self.api_ms_per_prompt_token * prompt_tokens)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


DEFAULT_CONSTANTS = Constants(
    step_ms=0.64,
    api_ms=9.3,
    source="fitted on runs of CodeLlama-34B and Llama-2-70B, vLLM 0.15.1 on H100",
)
"""`headway profile check` fits 0.69 and 0.59 ms, 8.9 and 9.7 ms on either model alone."""


def read_constants(path: Path) -> Constants:
    """Raises: InvalidProfile: naming the file and the field."""
    try:
        stored = json.loads(path.read_text())
    except OSError as error:
        raise InvalidProfile(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidProfile(f"{path} is not JSON: {error}") from error
    if not isinstance(stored, dict):
        raise InvalidProfile(f"{path}: an object of constants is wanted")
    if unknown := stored.keys() - set(Constants.__slots__):
        allowed = ", ".join(Constants.__slots__)
        raise InvalidProfile(f"{path}: unknown {', '.join(sorted(unknown))}; allowed: {allowed}")
    try:
        return Constants(**stored)
    except InvalidProfile as error:
        raise InvalidProfile(f"{path}: {error}") from error
