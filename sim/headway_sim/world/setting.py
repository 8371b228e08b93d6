"""How the world around the router is: what it can see, how late, and what goes wrong when.

Values only; each is obeyed by the module that its docstring names.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from headway_core.facts import EndpointId
from headway_sim.errors import InvalidScenario


class FirstTokens(StrEnum):
    """How a router learns of first tokens (`docs/design.md`)."""

    TAP = "Tap"
    """Of every request, exactly."""
    SAMPLED = "Sampled"
    """Of a share of the streams, exactly."""
    ABSENT = "Absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrapes:
    """How a router reads the engines' metrics (`scraping.py`)."""

    interval_s: float = 0.5
    jitter: float = 0.1
    """Each interval is drawn from +- this share."""
    delay_s: float = 0.005
    """From the reading in the engine to the router."""
    loss: float = 0.0
    """Share of the scrapes that never arrive."""

    def __post_init__(self) -> None:
        _require("scrape.interval_s", self.interval_s, "> 0", self.interval_s > 0)
        _require("scrape.delay_s", self.delay_s, ">= 0", self.delay_s >= 0)
        _require("scrape.jitter", self.jitter, "from 0 to less than 1", 0 <= self.jitter < 1)
        _require("scrape.loss", self.loss, "from 0 to 1", 0 <= self.loss <= 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class KvEvents:
    """How engines tell of their caches (`kv_feed.py`)."""

    delay_s: float = 0.02
    loss: float = 0.0
    """Share of the messages that never arrive."""
    gaps_s: tuple[tuple[float, float], ...] = ()
    """Spans (from, to) in which nothing arrives."""

    def __post_init__(self) -> None:
        _require("kv_events.delay_s", self.delay_s, ">= 0", self.delay_s >= 0)
        _require("kv_events.loss", self.loss, "from 0 to 1", 0 <= self.loss <= 1)
        for gap in self.gaps_s:
            _require("kv_events.gaps_s", gap, "spans with 0 <= from < to", 0 <= gap[0] < gap[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a router sees."""

    scrapes: Scrapes = field(default_factory=Scrapes)
    first_tokens: FirstTokens = FirstTokens.TAP
    sampled_share: float = 0.02
    """Of the streams that are read to the end: they report usage, and their first token."""
    cache_view_s: float | None = None
    """The routers' view of caches is a copy, taken anew every so many seconds (`cache_view.py`).
    None: what a router sends counts at once."""
    sampled_streams: int | None = None
    """Instead of a share, as routers do: so many of each replica at once.  None: the share."""
    kv_events: KvEvents | None = None
    """None: engines do not tell."""
    block_tokens: int = 256
    """Blocks of the router, in its estimated tokens: 1,024 bytes at 4 bytes each."""
    size_error: float = 0.1
    """Of the prompt size estimate, by text (`content.py`)."""

    def __post_init__(self) -> None:
        if self.cache_view_s is not None:
            _require("cache_view_s", self.cache_view_s, "> 0", self.cache_view_s > 0)
        share = self.sampled_share
        _require("sampled_share", share, "from 0 to 1", 0 <= share <= 1)
        streams = self.sampled_streams
        _require("sampled_streams", streams, ">= 0", streams is None or streams >= 0)
        _require("block_tokens", self.block_tokens, ">= 1", self.block_tokens >= 1)
        _require("size_error", self.size_error, "from 0 to 1", 0 <= self.size_error <= 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """The engine's process dies: what is in flight there is lost, and its cache."""

    endpoint_id: EndpointId
    at_s: float
    down_s: float | None = None
    """Until it serves again.  None: it stays dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Straggler:
    """The engine's steps take ``factor`` times as long for a while."""

    endpoint_id: EndpointId
    at_s: float
    for_s: float
    factor: float

    def __post_init__(self) -> None:
        _require("factor", self.factor, "> 0", self.factor > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """The fleet declares the endpoint draining, and takes it out after ``grace_s``."""

    endpoint_id: EndpointId
    at_s: float
    grace_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """The endpoint is not there at first; created at ``at_s`` it serves ``start_s`` later."""

    endpoint_id: EndpointId
    at_s: float
    start_s: float = 0.0
    """Image, weights and graphs until it is ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterRestart:
    """A router replica loses all state; until it is back the gateway goes on without it."""

    replica: int
    at_s: float
    down_s: float = 1.0


Fault = Crash | Straggler | Drain | Join | RouterRestart


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One world, without its workload and its policy."""

    seed: int = 0
    replicas: int = 1
    """Router replicas; a request belongs to one by its id."""
    router_engine_s: float = 0.0005
    """One way, between the gateway (with its router) and an engine."""
    discovery_s: float = 0.5
    """From a change of the fleet to the routers."""
    observation: Observation = field(default_factory=Observation)
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        _require("replicas", self.replicas, ">= 1", self.replicas >= 1)
        _require("router_engine_s", self.router_engine_s, ">= 0", self.router_engine_s >= 0)
        _require("discovery_s", self.discovery_s, ">= 0", self.discovery_s >= 0)
        for fault in self.faults:
            _require("at_s", fault.at_s, ">= 0", fault.at_s >= 0)


def _require(field_name: str, value: object, wanted: str, ok: bool) -> None:
    if not ok:
        raise InvalidScenario(f"{field_name} must be {wanted}, got {value!r}")
