"""Predicted seconds on an endpoint: the rate of its tier times its own correction.

    seconds = correction * (overhead_s + rate(work))

A tier is a kind of endpoint.  The correction is an EWMA of observed / predicted per endpoint,
within [1/4, 4]: one engine of a tier may be slower than its sisters.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from headway_core.estimate.rates import TYPICAL_PREFILL_TOKENS_PER_S, PrefillRate
from headway_core.estimate.residuals import Residuals
from headway_core.estimate.work import Work
from headway_core.facts import Endpoint, EndpointId

_SMOOTHING = 0.1
_MIN_CORRECTION, _MAX_CORRECTION = 0.25, 4.0
_LEAST_S = 1e-6

_Kind = tuple[str, str | None, float | None, int, float]

REMEMBERED_TIERS = 32
"""So many are kept, those without endpoints first to go: a pool scaled to zero comes back."""


@dataclass(slots=True, eq=False)
class Tier:
    """Endpoints that are equal as far as is known: one law, one distribution of its errors."""

    rate: PrefillRate
    residuals: Residuals = field(default_factory=Residuals)


@dataclass(slots=True, eq=False)
class EndpointLatency:
    """What is predicted for one endpoint."""

    tier: Tier
    correction: float = 1.0

    def work_s(self, work: Work) -> float:
        """Seconds for work in front of a request."""
        rate = self.tier.rate
        return self.correction * (rate.s_per_token * work.tokens + rate.s_per_pair * work.pairs)

    def prefill_s(self, work: Work) -> float:
        """Seconds for a request's own work, from its turn to its first token."""
        rate = self.tier.rate
        return self.correction * (
            rate.overhead_s + rate.s_per_token * work.tokens + rate.s_per_pair * work.pairs
        )

    def probability_within(self, predicted_s: float, limit_s: float) -> float:
        return self.tier.residuals.probability_within(predicted_s, limit_s)

    def correct(self, factor: float) -> None:
        """Observed was ``factor`` times what the tier's law says."""
        smoothed = self.correction + _SMOOTHING * (factor - self.correction)
        self.correction = min(_MAX_CORRECTION, max(_MIN_CORRECTION, smoothed))


class LatencyModel:
    """The estimates of one pool.  Reading changes nothing; ``learn`` does."""

    def __init__(self) -> None:
        self._tiers: dict[_Kind, Tier] = {}
        self.endpoints: dict[EndpointId, EndpointLatency] = {}
        """To read."""

    def follow(self, endpoints: Iterable[Endpoint]) -> None:
        """Know exactly these; one that was known and is as it was keeps what was learned."""
        before, self.endpoints = self.endpoints, {}
        kinds = set()
        for endpoint in endpoints:
            kind = _kind(endpoint)
            kinds.add(kind)
            tier = self._tiers.get(kind)
            if tier is None:
                prior = endpoint.capacity.prefill_tokens_per_s
                typical = TYPICAL_PREFILL_TOKENS_PER_S * endpoint.weight
                tier = self._tiers[kind] = Tier(PrefillRate(typical if prior is None else prior))
            known = before.get(endpoint.endpoint_id)
            if known is None or known.tier is not tier:
                known = EndpointLatency(tier)
            self.endpoints[endpoint.endpoint_id] = known
        unused = [kind for kind in self._tiers if kind not in kinds]
        for kind in unused[: max(0, len(self._tiers) - REMEMBERED_TIERS)]:
            del self._tiers[kind]

    def learn(self, endpoint_id: EndpointId, work: Work, observed_s: float) -> None:
        """A first token came ``observed_s`` after dispatch, with that work up to and in it."""
        known = self.endpoints.get(endpoint_id)
        if known is None:
            return
        tier = known.tier
        law_s = max(_LEAST_S, tier.rate.overhead_s + tier.rate.seconds(work))
        tier.residuals.learn(known.correction * law_s, observed_s)
        known.correct(observed_s / law_s)
        if tier.rate.learn(work, observed_s):
            # What was measured against the wrong law says nothing about the new one.
            tier.residuals = Residuals()
            for other in self.endpoints.values():
                if other.tier is tier:
                    other.correction = 1.0


def _kind(endpoint: Endpoint) -> _Kind:
    """What makes two endpoints equally fast before anything is learned about either."""
    capacity = endpoint.capacity
    return (
        endpoint.group,
        endpoint.accelerator,
        capacity.prefill_tokens_per_s,
        capacity.batch_tokens,
        endpoint.weight,
    )
