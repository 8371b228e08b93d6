"""Mooncake's Conductor (FAST'25, Algorithm 1) and the pure cache affinity it is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from headway_core.facts import EndpointId, InferenceRequest
from headway_sim.baselines.rule import least
from headway_sim.views import Views


@dataclass(slots=True)
class MinTtft:
    """The least predicted time to first token over all endpoints.

        TTFT = T_queue + T_prefill = (pending miss tokens + own miss tokens) / prefill rate

    The algorithm's branch that fetches a longer prefix from another instance needs a KV tier that
    all share; engines here have none, so every prefix is local.  Nothing is refused.
    """

    rng: Random

    def route(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views, now: float
    ) -> EndpointId:
        def ttft_s(endpoint_id: EndpointId) -> float:
            miss = views.miss_tokens(endpoint_id, request)
            return views.prefill_s(endpoint_id, views.load(endpoint_id).pending_tokens + miss)

        return least(among, ttft_s, self.rng)


@dataclass(slots=True)
class MaxCachedPrefix:
    """The longest predicted hit; ties by fewest requests.

    ``cache_affinity`` of DualMap's evaluation (arXiv 2602.06502).
    """

    rng: Random

    def route(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views, now: float
    ) -> EndpointId:
        return least(
            among,
            lambda e: (-views.hit_tokens(e, request), views.load(e).requests),
            self.rng,
        )
