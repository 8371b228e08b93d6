"""Rules without memory of prefixes: in turn, at random, least requests, least pending tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from headway_core.facts import EndpointId, InferenceRequest
from headway_sim.baselines.rule import least
from headway_sim.views import Views


@dataclass(slots=True)
class RoundRobin:
    """The endpoints in turn."""

    rng: Random
    _turn: int = field(default=0, init=False)

    def route(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views, now: float
    ) -> EndpointId:
        self._turn += 1
        return among[(self._turn - 1) % len(among)]


@dataclass(slots=True)
class UniformRandom:
    """Any endpoint, with equal probability: AIBrix' default."""

    rng: Random

    def route(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views, now: float
    ) -> EndpointId:
        return among[self.rng.randrange(len(among))]


@dataclass(slots=True)
class LeastRequests:
    """Fewest requests of this router in flight."""

    rng: Random

    def route(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views, now: float
    ) -> EndpointId:
        return least(among, lambda e: views.load(e).requests, self.rng)


@dataclass(slots=True)
class LeastPendingTokens:
    """Fewest prompt tokens that were sent and have no first token yet.

    ``min_pending_input`` of DualMap's evaluation (arXiv 2602.06502).
    """

    rng: Random

    def route(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views, now: float
    ) -> EndpointId:
        return least(among, lambda e: views.load(e).pending_prompt_tokens, self.rng)
