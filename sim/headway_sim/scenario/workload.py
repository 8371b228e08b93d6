"""What a scenario's clients send, and how it becomes traffic."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from headway_sim.errors import InvalidScenario
from headway_sim.scenario.sources import ConversationSource, PoissonSource, Source, all_of
from headway_sim.seeds import Substreams
from headway_sim.traffic import (
    FixedConcurrency,
    OpenLoop,
    Sessions,
    Traffic,
    Turn,
    compressed,
)
from headway_sim.workloads import multi_turn
from headway_sim.workloads.request import WorkloadRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A source and how it is played.

    Raises: InvalidScenario: the parts do not fit each other.
    """

    source: Source
    requests: int | None = None
    """The first so many.  None: all that there are."""
    rate_per_s: float | None = None
    """Mean rate; recorded times are compressed or stretched to it, nothing is left out."""
    native_rate_per_s: float | None = None
    """What the recorded rate is taken for.  None: what it is, in what is sent."""
    concurrency: int | None = None
    """A closed loop of so many clients.  None: an open loop, or the conversations' own users."""
    think_s: float = 0.0
    """Mean, between an answer and the client's next request; with ``concurrency``."""
    follows_answers: bool = False
    """Conversations as a closed loop: a turn waits for the answer to the one before."""
    warm_up_requests: int = 0
    """So many first arrivals are left out of the report."""
    warm_up_rate_per_s: float | None = None
    """They come at this rate, at equal distances.  None: like the others."""

    def __post_init__(self) -> None:
        is_closed = self.concurrency is not None or self.follows_answers
        if isinstance(self.source, PoissonSource) and self.requests is None:
            raise InvalidScenario("requests is needed: Poisson arrivals have no end")
        if is_closed and self.rate_per_s is not None:
            raise InvalidScenario("rate_per_s has no meaning in a closed loop")
        if self.follows_answers and not isinstance(self.source, ConversationSource):
            raise InvalidScenario("follows_answers needs conversations")
        if self.follows_answers and self.concurrency is not None:
            raise InvalidScenario("give either concurrency or follows_answers")
        for name in ("requests", "concurrency"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidScenario(f"{name} must be >= 1, got {value}")
        if self.rate_per_s is not None and not self.rate_per_s > 0:
            raise InvalidScenario(f"rate_per_s must be > 0, got {self.rate_per_s}")
        if self.warm_up_requests < 0:
            raise InvalidScenario(f"warm_up_requests must be >= 0, got {self.warm_up_requests}")
        if self.warm_up_rate_per_s is not None:
            if not self.warm_up_rate_per_s > 0:
                given = self.warm_up_rate_per_s
                raise InvalidScenario(f"warm_up_rate_per_s must be > 0, got {given}")
            if is_closed:
                raise InvalidScenario("warm_up_rate_per_s has no meaning in a closed loop")
        if self.native_rate_per_s is not None:
            if not self.native_rate_per_s > 0:
                given = self.native_rate_per_s
                raise InvalidScenario(f"native_rate_per_s must be > 0, got {given}")
            if self.rate_per_s is None:
                raise InvalidScenario("native_rate_per_s is of use only with a rate_per_s")
        if self.think_s < 0:
            raise InvalidScenario(f"think_s must be >= 0, got {self.think_s}")

    def traffic(self, seed: int) -> Traffic:
        """Raises: InvalidTrace."""
        if self.follows_answers:
            return Sessions(_scripts(self.source, self._recorded(seed)))
        if self.concurrency is not None:
            rng = Substreams(seed).stream("think")
            return FixedConcurrency(self._requests(seed), self.concurrency, self.think_s, rng)
        arrivals = self._at_rate(seed)
        if self.warm_up_rate_per_s is not None:
            arrivals = _warmed(arrivals, self.warm_up_requests, self.warm_up_rate_per_s)
        return OpenLoop(arrivals)

    def _at_rate(self, seed: int) -> Iterator[WorkloadRequest]:
        if self.rate_per_s is None:
            return self._requests(seed)
        native_per_s = self.native_rate_per_s
        if native_per_s is None and isinstance(self.source, PoissonSource):
            native_per_s = self.source.shape.rate_per_s
        if native_per_s is not None:
            return compressed(self._requests(seed), self.rate_per_s / native_per_s)
        recorded = self._recorded(seed)
        return compressed(recorded, self.rate_per_s / _rate_per_s(recorded))

    def _recorded(self, seed: int) -> tuple[WorkloadRequest, ...]:
        return tuple(self._requests(seed))

    def _requests(self, seed: int) -> Iterator[WorkloadRequest]:
        return islice(all_of(self.source, seed), self.requests)


def _warmed(
    requests: Iterator[WorkloadRequest], warm_up: int, rate_per_s: float
) -> Iterator[WorkloadRequest]:
    """The first so many at a rate of their own; the others follow as they are."""
    late_s: float | None = None
    for number, request in enumerate(requests):
        if number < warm_up:
            yield replace(request, at_s=number / rate_per_s)
            continue
        if late_s is None:
            late_s = warm_up / rate_per_s - request.at_s
        yield replace(request, at_s=request.at_s + late_s)


def _rate_per_s(recorded: Sequence[WorkloadRequest]) -> float:
    """Of the recorded times.  Raises: InvalidScenario: they say nothing about a rate."""
    length_s = recorded[-1].at_s - recorded[0].at_s if recorded else 0.0
    if length_s <= 0:
        raise InvalidScenario("rate_per_s needs a workload that lasts for some time")
    return (len(recorded) - 1) / length_s


def _scripts(source: Source, recorded: Sequence[WorkloadRequest]) -> list[list[Turn]]:
    """What each user says, and how long each thinks: what the recorded times leave for it.

    think = arrival - arrival before - reading of the answer before
    """
    assert isinstance(source, ConversationSource)
    users: dict[str, list[Turn]] = {}
    last: dict[str, WorkloadRequest] = {}
    for request in recorded:
        user = multi_turn.user_of(request)
        before = last.get(user)
        think_s = request.at_s
        if before is not None:
            think_s -= before.at_s + before.output_tokens * source.shape.read_s_per_token
        users.setdefault(user, []).append(Turn(max(0.0, think_s), request))
        last[user] = request
    return list(users.values())
