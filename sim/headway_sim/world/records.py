"""What happened to each request: the only thing that reports are made of."""

from dataclasses import dataclass
from enum import StrEnum

from headway_core.facts import EndpointId


class Fate(StrEnum):
    IN_FLIGHT = "in_flight"
    FINISHED = "finished"
    SHED = "shed"
    """Refused by the router."""
    FAILED = "failed"
    """Lost with its engine, or refused by it."""


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """One request, in true tokens and integer nanoseconds.  None: did not happen."""

    number: int
    arrived_ns: int
    prompt_tokens: int
    estimated_tokens: int
    """What the router took the prompt for."""
    output_tokens: int
    session: str | None
    replica: int
    fate: Fate = Fate.IN_FLIGHT
    reason: str | None = None
    """Why it was shed, or failed."""
    endpoint_id: EndpointId | None = None
    """Where it was sent last."""
    was_held: bool = False
    failed_open: bool = False
    """The gateway sent it without the router."""
    retries: int = 0
    sent_ns: int | None = None
    """When the router let it go, the first time."""
    cached_tokens: int | None = None
    """Found in the cache of the engine that served it."""
    first_token_ns: int | None = None
    """At the client, like ``ended_ns``."""
    ended_ns: int | None = None

    @property
    def request_id(self) -> str:
        return request_id(self.number)

    @property
    def ttft_s(self) -> float | None:
        if self.first_token_ns is None:
            return None
        return (self.first_token_ns - self.arrived_ns) / 1e9

    @property
    def e2e_s(self) -> float | None:
        if self.ended_ns is None or self.fate is not Fate.FINISHED:
            return None
        return (self.ended_ns - self.arrived_ns) / 1e9

    @property
    def tpot_s(self) -> float | None:
        """Mean time per output token after the first; None with a single one."""
        if self.fate is not Fate.FINISHED or self.output_tokens < 2:
            return None
        assert self.ended_ns is not None
        assert self.first_token_ns is not None
        return (self.ended_ns - self.first_token_ns) / 1e9 / (self.output_tokens - 1)


def request_id(number: int) -> str:
    return f"r{number}"
