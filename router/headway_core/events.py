"""What the router learns from.  `docs/design.md` says when each arrives, and when it does not.

The time of an event is the ``now`` with which it is observed.
"""

from dataclasses import dataclass

from headway_core.facts import EndpointId, EngineView
from headway_core.values import value


@dataclass(frozen=True, slots=True)
class Scraped:
    """An engine's metrics were read."""

    endpoint_id: EndpointId
    view: EngineView


@dataclass(frozen=True, slots=True)
class Unreachable:
    """An engine refused the connection: its process is gone.  The next ``Scraped`` clears it."""

    endpoint_id: EndpointId


@value
class FirstToken:
    """The first token of a response passed the gateway.

    ``endpoint_id`` is the address that served it, if known: after a retry it is not the one
    that was chosen, and the charge follows it.
    """

    request_id: str
    endpoint_id: EndpointId | None = None


@dataclass(frozen=True, slots=True)
class UsageReported:
    """The engine reported what the request really was.  None: not in the report."""

    request_id: str
    prompt_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None = None


@value
class Finished:
    """The exchange ended: the response is complete or the client has gone."""

    request_id: str


@value
class Failed:
    """The exchange ended without a response from the engine."""

    request_id: str


@value
class Cancelled:
    """The client left before there was an answer, possibly while the request was held."""

    request_id: str


@dataclass(frozen=True, slots=True)
class BlocksStored:
    """Blocks, in the router's own hashes, that an engine now holds; a chain, head first."""

    endpoint_id: EndpointId
    blocks: tuple[int, ...]
    block_tokens: int


@dataclass(frozen=True, slots=True)
class BlocksRemoved:
    """Blocks, in the router's own hashes, that an engine has evicted."""

    endpoint_id: EndpointId
    blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CacheCleared:
    """An engine's prefix cache is empty: reset or restarted."""

    endpoint_id: EndpointId


Event = (
    Scraped
    | Unreachable
    | FirstToken
    | UsageReported
    | Finished
    | Failed
    | Cancelled
    | BlocksStored
    | BlocksRemoved
    | CacheCleared
)
