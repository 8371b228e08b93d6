"""What the policies of the experiment are tried on: loads, engines, and both together.

The set-up is that of DualMap's evaluation (arXiv 2602.06502): eight instances, TTFT <= 5 s, prompts
of 20,480 tokens or more left out, the first requests slowly as warm-up, then the trace's own gaps
divided by rate / native rate.  Rates are nominal, as there; the delivered ones are told beside.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENDPOINTS = "abcdefgh"
LONGEST_TOKENS = 20_480
WINDOWS = 6
WINDOW, WINDOW_WARM_UP = 1680, 180
WHOLE, WHOLE_WARM_UP = 8000, 500


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hardware:
    name: str
    title: str
    engine: Mapping[str, Any]
    """Entry of ``engines`` in a scenario file."""
    accelerator: str
    prefill_tokens_per_s: int
    ttft_s: float


ASCEND = Hardware(
    name="910b4",
    title="Ascend 910B4, Qwen2.5-7B (assumed constants), 170,000 KV tokens and 64 GB in the host",
    engine={"profile": "910b4-qwen2.5-7b-tp1-dualmap", "blockTokens": 512},
    accelerator="ascend-910b4",
    prefill_tokens_per_s=6250,
    ttft_s=5.0,
)
H100 = Hardware(
    name="h100",
    title="H100, Llama-3.1-8B (operator tables), its own KV cache and no host tier",
    engine={
        "profile": "h100-llama-3.1-8b-tp1",
        "blockTokens": 512,
        "maxNumBatchedTokens": LONGEST_TOKENS,
        "maxNumSeqs": 256,
    },
    accelerator="h100-80gb",
    prefill_tokens_per_s=55_000,
    ttft_s=0.57,
)
"""The bound is 5 s in proportion to the prefill rates, 6,250 to 55,000 tokens/s."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Load:
    """Something to send.  One that is recorded has windows; one that is made up, seeds."""

    name: str
    title: str
    workload: Mapping[str, Any]
    """Of a scenario file, without requests, rate and window."""
    is_recorded: bool
    warm_up_rate_per_s: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further entries of the scenario file."""
    observation: Mapping[str, Any] = field(default_factory=dict)


def trace(name: str, title: str, file: Path, native_per_s: float, warm_up_per_s: float) -> Load:
    described = {"file": str(file), "arrivals": "Even", "belowTokens": LONGEST_TOKENS}
    return Load(
        name=name,
        title=title,
        workload={"trace": described, "nativeRatePerSecond": native_per_s},
        is_recorded=True,
        warm_up_rate_per_s=warm_up_per_s,
        observation={"blockTokens": 512, "sizeError": 0},
    )


def data_folder() -> Path:
    default = Path(__file__).parents[3] / "shared" / "data"
    return Path(os.environ.get("HEADWAY_DATA", default)).absolute() / "traces"


def conversation(folder: Path) -> Load:
    return trace(
        "conversation",
        "Mooncake conversation trace (real)",
        folder / "mooncake_conversation_trace.jsonl.gz",
        3.34,
        0.3,
    )


def stand_in(folder: Path) -> Load:
    """3.34 and 6.56 are what the traces are taken for; 0.3 and 0.5 come from the evaluation."""
    return trace(
        "stand-in",
        "synthetic stand-in for the tool&agent trace (not the real trace)",
        folder / "synthetic_toolagent_like.jsonl.gz",
        6.56,
        0.5,
    )


def _poisson(name: str, title: str, **extra: Any) -> Load:
    shape: dict[str, Any] = {"ratePerSecond": 1.0, **extra}
    return Load(name=name, title=title, workload={"poisson": shape}, is_recorded=False)


NO_SHARED_PREFIX = _poisson(
    "no-shared-prefix",
    "no shared prefix: Poisson, prompts of 512 to 8,192 tokens that have nothing in common",
    groups=1,
    headTokens=[1, 1],
    questionTokens=[512, 8192],
    outputTokens=[16, 256],
)
DECODE_HEAVY = _poisson(
    "decode-heavy",
    "decode-heavy: Poisson, prompts of 64 to 512 tokens, answers of 512 to 1,536",
    groups=1,
    headTokens=[1, 1],
    questionTokens=[64, 512],
    outputTokens=[512, 1536],
)
HOT_PROMPT = _poisson(
    "hot-prompt",
    "one hot system prompt: Poisson, all share 4,096 tokens, 64 to 1,024 of their own",
    groups=1,
    headTokens=[4096, 4096],
    questionTokens=[64, 1024],
    outputTokens=[16, 256],
)


def cold_replica(load: Load) -> Load:
    """The eighth engine comes, with an empty cache, 60 s after the end of the warm-up."""
    assert load.warm_up_rate_per_s is not None
    at_s = WINDOW_WARM_UP / load.warm_up_rate_per_s + 60
    return Load(
        name=f"{load.name}-cold-replica",
        title=f"cold replica added: {load.title}, the eighth engine joins 60 s after the warm-up",
        workload=load.workload,
        is_recorded=True,
        warm_up_rate_per_s=load.warm_up_rate_per_s,
        extra={"faults": [{"join": {"endpoint": f"engines/{ENDPOINTS[-1]}", "atSeconds": at_s}}]},
        observation=load.observation,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bed:
    load: Load
    hardware: Hardware
    base_per_s: float
    """A rate near 90 % attainment, where searches begin."""
    window: int = WINDOW
    window_warm_up: int = WINDOW_WARM_UP
    windows: int = WINDOWS

    @property
    def name(self) -> str:
        return f"{self.load.name}/{self.hardware.name}"

    def rate_per_s(self, number: int) -> float:
        """All searches on a bed use the same rates, 3 % apart, so that they share runs."""
        return round(self.base_per_s * 1.03**number, 3)
