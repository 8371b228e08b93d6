"""When clients send: at fixed times, whatever happens, or each after its last answer.

Open loop: the workload fixes every arrival.  Closed loop: a client sends its next request when the
last one has ended and it has thought, so a slow system is offered less.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from headway_sim.workloads.request import WorkloadRequest


@dataclass(frozen=True, slots=True)
class Issued:
    """A request that a client sends."""

    at_s: float
    request: WorkloadRequest
    client: int


class Traffic(Protocol):
    def first(self) -> Iterator[Issued]:
        """Arrivals that wait for nobody, in order of time, made as they are asked for."""

    def after(self, issued: Issued, ended_s: float) -> Issued | None:
        """What the client sends once that one has ended, in whatever way; None: nothing."""


class OpenLoop:
    """Every request at its own time.  The iterator is read once, one request ahead."""

    def __init__(self, requests: Iterable[WorkloadRequest]) -> None:
        self._requests = requests

    def first(self) -> Iterator[Issued]:
        return (Issued(request.at_s, request, i) for i, request in enumerate(self._requests))

    def after(self, issued: Issued, ended_s: float) -> Issued | None:
        return None


class FixedConcurrency:
    """So many clients, who share one list of requests; recorded times count for nothing.

    A client thinks for an exponentially distributed time.  All begin at 0, one millisecond apart.
    """

    def __init__(
        self, requests: Iterable[WorkloadRequest], clients: int, think_s: float, rng: Random
    ) -> None:
        self._requests = iter(requests)
        self._clients = clients
        self._think_s = think_s
        self._rng = rng

    def first(self) -> Iterator[Issued]:
        for client, request in zip(range(self._clients), self._requests, strict=False):
            yield Issued(client / 1000, request, client)

    def after(self, issued: Issued, ended_s: float) -> Issued | None:
        request = next(self._requests, None)
        if request is None:
            return None
        think_s = self._rng.expovariate(1 / self._think_s) if self._think_s else 0.0
        return Issued(ended_s + think_s, request, issued.client)


@dataclass(frozen=True, slots=True)
class Turn:
    """A user's next request, and how long the user thinks before it."""

    think_s: float
    request: WorkloadRequest


class Sessions:
    """Users in conversations: a turn follows the end of the turn before, after thinking."""

    def __init__(self, users: Sequence[Sequence[Turn]]) -> None:
        self._users = [iter(turns) for turns in users]

    def first(self) -> Iterator[Issued]:
        openings = [
            Issued(turn.think_s, turn.request, user)
            for user, turns in enumerate(self._users)
            if (turn := next(turns, None)) is not None
        ]
        return iter(sorted(openings, key=lambda issued: (issued.at_s, issued.client)))

    def after(self, issued: Issued, ended_s: float) -> Issued | None:
        turn = next(self._users[issued.client], None)
        if turn is None:
            return None
        return Issued(ended_s + turn.think_s, turn.request, issued.client)


def compressed(requests: Iterable[WorkloadRequest], factor: float) -> Iterator[WorkloadRequest]:
    """The same requests ``factor`` times as fast; none is left out."""
    return (replace(request, at_s=request.at_s / factor) for request in requests)
