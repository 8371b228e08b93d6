"""Requests whose streams are open, and what is remembered of those that have just ended."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from headway_core.facts import EndpointId, InferenceRequest
from headway_core.outcomes import Outcome

Settle = Callable[[Outcome], None]
"""Takes the outcome of a request that was held."""

REMEMBERED = 512


class Placement(NamedTuple):
    """What a first token is compared with."""

    pool: str
    endpoint_id: EndpointId
    arrived_s: float


@dataclass(slots=True)
class OpenRequest:
    """A request whose stream has not ended; dispatched, once it has an endpoint."""

    settle: Settle
    request: InferenceRequest
    arrived_s: float
    pool: str
    endpoint_id: EndpointId | None = None
    """Where it was sent; None: it is held."""
    has_first_token: bool = False
    is_released: bool = False
    """The core was told of its end already."""
    is_sampled: bool = False
    """Its response is read to the end."""

    @property
    def placement(self) -> "Placement | None":
        """None: it is held."""
        if self.endpoint_id is None:
            return None
        return Placement(self.pool, self.endpoint_id, self.arrived_s)


class EndedRequests:
    """The last ones that ended without a first token.

    Of an answer that comes as a whole the tap may tell after the request has ended: they are two
    streams, and on grpc.aio the end is often read first.
    """

    def __init__(self) -> None:
        self._placements: dict[str, Placement] = {}

    def remember(self, opened: OpenRequest) -> None:
        if (placement := opened.placement) is None:
            return
        self._placements[opened.request.request_id] = placement
        if len(self._placements) > REMEMBERED:
            del self._placements[next(iter(self._placements))]

    def take(self, request_id: str) -> Placement | None:
        """Once."""
        return self._placements.pop(request_id, None)
