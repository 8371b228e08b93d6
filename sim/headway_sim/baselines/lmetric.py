"""LMetric: prefill work times batch size."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from headway_core.facts import EndpointId, InferenceRequest
from headway_sim.baselines.rule import least
from headway_sim.views import Views


@dataclass(slots=True)
class LMetric:
    """The least product

        (pending miss tokens + own miss tokens) * (requests in flight + 1)

    After a secondary description; the original was not at hand.
    """

    rng: Random

    def route(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views, now: float
    ) -> EndpointId:
        def product(endpoint_id: EndpointId) -> int:
            load = views.load(endpoint_id)
            miss = views.miss_tokens(endpoint_id, request)
            return (load.pending_tokens + miss) * (load.requests + 1)

        return least(among, product, self.rng)
