"""AIBrix' prefix-cache policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean, pstdev

from headway_core.facts import EndpointId, InferenceRequest
from headway_sim.baselines.rule import least
from headway_sim.views import Views


@dataclass(slots=True)
class PrefixCache:
    """The longest match among endpoints that are not busier than the others.

        max - min requests > imbalance                  -> fewest requests
        a hit where requests <= mean + deviations * sigma -> the longest (ties: fewest requests)
        otherwise                                       -> fewest requests

    Defaults in the code of vllm-project/aibrix e3e10f9: 8 requests, 1 sigma (its chart says 16
    and 2).
    """

    rng: Random
    imbalance: int = 8
    deviations: float = 1.0

    def route(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views, now: float
    ) -> EndpointId:
        def requests(endpoint_id: EndpointId) -> int:
            return views.load(endpoint_id).requests

        loads = [requests(e) for e in among]
        if max(loads) - min(loads) > self.imbalance:
            return least(among, requests, self.rng)
        bound = fmean(loads) + self.deviations * pstdev(loads)
        matched = [e for e in among if requests(e) <= bound and views.hit_tokens(e, request) > 0]
        if not matched:
            return least(among, requests, self.rng)
        return least(matched, lambda e: (-views.hit_tokens(e, request), requests(e)), self.rng)
