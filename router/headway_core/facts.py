"""What the router knows: requests, endpoints, engine views.  Frozen values without behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from headway_core.values import value

EndpointId = str
"""``address:port``: what the gateway dials, and what the endpoint-picker protocol names."""


class Role(StrEnum):
    """What an endpoint does for a request.  Prefill and Decode come with disaggregation."""

    BOTH = "Both"


class EndpointState(StrEnum):
    """What the fleet says of an endpoint; one that is absent from the fleet is gone.

    An endpoint that joins a pool which already has others *warms*: its ring weight ramps up
    (``affinity/warmup.py``).  That is the router's own knowledge, so it is not a state here.
    """

    READY = "Ready"
    DRAINING = "Draining"
    """Finishes what it holds and gets nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """A latency target.  ``ttft_s`` may grow with the prompt, as one bound sacrifices long ones."""

    ttft_s: float
    ttft_s_per_1k_tokens: float = 0.0

    def ttft_target_s(self, prompt_tokens: int) -> float:
        """``ttft_s + ttft_s_per_1k_tokens * prompt_tokens / 1000``."""
        return self.ttft_s + self.ttft_s_per_1k_tokens * prompt_tokens / 1000


@value(kw_only=True)
class InferenceRequest:
    """One request, as far as it can be known without a tokenizer.

    ``prompt_tokens`` is an estimate (canonical bytes times a learned ratio).  ``blocks`` are
    chained 64-bit hashes of the full blocks of the prompt, so ``blocks[i]`` stands for all of
    the prompt up to and including block i; ``block_tokens`` is their size in tokens.
    """

    request_id: str
    requested_model: str
    prompt_tokens: int
    blocks: tuple[int, ...] = ()
    block_tokens: int = 256
    """>= 1."""
    content_bytes: int | None = None
    """Canonical content that ``prompt_tokens`` was estimated from; None: they are no estimate."""
    adapter: str | None = None
    tenant: str | None = None
    session: str | None = None
    priority: int | None = None
    """None: the priority of its SLO class."""
    slo: Slo | None = None
    """None: the target of its SLO class, else of its pool, else none at all."""
    slo_class: str | None = None
    """Name of an SLO class of the pool's policy; None or unknown: the pool's own SLO."""
    max_output_tokens: int | None = None
    tells_first_token: bool = True
    """False: the answer comes as a whole, so its first bytes say nothing of the prefill's time."""
    signals: Mapping[str, float] | None = None
    """What a predictor says of the request; None: absent."""
    allowed_endpoints: frozenset[EndpointId] | None = None
    """The gateway's subset: only these may serve it.  None: no restriction."""

    def __post_init__(self) -> None:
        if self.prompt_tokens < 0:
            raise ValueError(f"prompt_tokens must be >= 0, got {self.prompt_tokens}")
        if self.block_tokens < 1:
            raise ValueError(f"block_tokens must be >= 1, got {self.block_tokens}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What an endpoint can do, each > 0.  None: unknown, learned online where it can be."""

    prefill_tokens_per_s: float | None = None
    kv_cache_tokens: int | None = None
    batch_tokens: int = 2048
    """``max_num_batched_tokens`` of the engine; vLLM's defaults: ``headway_api.accelerators``."""

    def __post_init__(self) -> None:
        for name in ("prefill_tokens_per_s", "kv_cache_tokens", "batch_tokens"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be > 0 and finite, got {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A model server as the fleet declares it."""

    endpoint_id: EndpointId
    name: str
    group: str = "default"
    role: Role = Role.BOTH
    state: EndpointState = EndpointState.READY
    weight: float = 1.0
    """Share of the key space, relative to the pool's first group.  > 0."""
    capacity: Capacity = Capacity()
    accelerator: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"weight must be > 0 and finite, got {self.weight}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineView:
    """What one scrape of an engine's metrics said.  None: the metric was missing."""

    waiting: int | None = None
    running: int | None = None
    kv_usage: float | None = None
    """0..1, blocks in use by live requests."""
    kv_cache_tokens: int | None = None
    """``num_gpu_blocks * block_size``."""
