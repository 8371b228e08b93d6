"""Predicted seconds on an endpoint: the rate of its group times its own correction.

    seconds = correction * (overhead_s + rate(work))

The correction is an EWMA of observed / predicted per endpoint, within [1/4, 4]: one engine of a
group may be slower than its sisters (`routing.md` 8.4).
"""

from dataclasses import dataclass, field

from headway_core.estimate.rates import TYPICAL_PREFILL_TOKENS_PER_S, PrefillRate
from headway_core.estimate.residuals import Residuals
from headway_core.estimate.work import Work
from headway_core.facts import Endpoint, EndpointId

_SMOOTHING = 0.1
_MIN_CORRECTION, _MAX_CORRECTION = 0.25, 4.0


@dataclass(slots=True)
class _Tier:
    """Endpoints that are equal as far as is known: one law, one distribution of its errors."""

    rate: PrefillRate
    residuals: Residuals = field(default_factory=Residuals)


@dataclass(slots=True)
class _Known:
    tier: _Tier
    correction: float = 1.0


class LatencyModel:
    """The estimates of one pool.  Reading changes nothing; ``learn`` does."""

    def __init__(self) -> None:
        self._tiers: dict[tuple[object, ...], _Tier] = {}
        self._known: dict[EndpointId, _Known] = {}

    def add(self, endpoint: Endpoint) -> None:
        """Know an endpoint; one that is known already keeps what was learned."""
        tier = self._tiers.get(tier_of(endpoint))
        if tier is None:
            prior = endpoint.capacity.prefill_tokens_per_s
            typical = TYPICAL_PREFILL_TOKENS_PER_S * endpoint.weight
            tier = _Tier(PrefillRate(typical if prior is None else prior))
            self._tiers[tier_of(endpoint)] = tier
        known = self._known.get(endpoint.endpoint_id)
        if known is None or known.tier is not tier:
            self._known[endpoint.endpoint_id] = _Known(tier)

    def remove(self, endpoint_id: EndpointId) -> None:
        del self._known[endpoint_id]

    def work_s(self, endpoint_id: EndpointId, work: Work) -> float:
        """Seconds for work in front of a request."""
        known = self._known[endpoint_id]
        return known.correction * known.tier.rate.seconds(work)

    def prefill_s(self, endpoint_id: EndpointId, work: Work) -> float:
        """Seconds for a request's own work, from its turn to its first token."""
        known = self._known[endpoint_id]
        rate = known.tier.rate
        return known.correction * (rate.overhead_s + rate.seconds(work))

    def probability_within(
        self, endpoint_id: EndpointId, predicted_s: float, limit_s: float
    ) -> float:
        return self._known[endpoint_id].tier.residuals.probability_within(predicted_s, limit_s)

    def correction(self, endpoint_id: EndpointId) -> float:
        return self._known[endpoint_id].correction

    def learn(self, endpoint_id: EndpointId, work: Work, observed_s: float) -> None:
        """A first token came ``observed_s`` after dispatch, with that work up to and in it."""
        if endpoint_id not in self._known:
            return
        known = self._known[endpoint_id]
        tier = known.tier
        uncorrected_s = max(1e-6, tier.rate.overhead_s + tier.rate.seconds(work))
        tier.residuals.learn(known.correction * uncorrected_s, observed_s)
        ratio = observed_s / uncorrected_s
        smoothed = known.correction + _SMOOTHING * (ratio - known.correction)
        known.correction = min(_MAX_CORRECTION, max(_MIN_CORRECTION, smoothed))
        tier.rate.learn(work, observed_s)


def tier_of(endpoint: Endpoint) -> tuple[object, ...]:
    """What makes two endpoints equal before anything is learned about either."""
    return (endpoint.group, endpoint.accelerator, endpoint.capacity, endpoint.weight)
