"""llm-d's endpoint picker: the weighted blend, and "sticky until saturated" in both forms."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from headway_core.facts import EndpointId, InferenceRequest
from headway_sim.baselines.rule import least
from headway_sim.views import Views


@dataclass(slots=True)
class Blend:
    """The highest weighted sum of three scores from 0 to 1:

        3 * hit / prompt + 2 * (max waiting - waiting) / (max - min) + 2 * (1 - KV usage)

    Weights of llm-d/llm-d-router ebab687.  The queue score is 1 where all queues are equal; an
    endpoint whose metrics are unknown gets 0 for queue and KV, so known ones are preferred.
    """

    rng: Random
    prefix_weight: float = 3.0
    queue_weight: float = 2.0
    kv_weight: float = 2.0

    def route(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views, now: float
    ) -> EndpointId:
        waiting = [w for e in among if (w := views.engine(e).waiting) is not None]
        longest, shortest = max(waiting, default=0), min(waiting, default=0)

        def score(endpoint_id: EndpointId) -> float:
            view = views.engine(endpoint_id)
            prefix = views.hit_tokens(endpoint_id, request) / max(1, request.prompt_tokens)
            queue = 0.0
            if view.waiting is not None:
                span = longest - shortest
                queue = (longest - view.waiting) / span if span else 1.0
            kv = 0.0 if view.kv_usage is None else 1 - view.kv_usage
            return self.prefix_weight * prefix + self.queue_weight * queue + self.kv_weight * kv

        return least(among, lambda e: -score(e), self.rng)


@dataclass(slots=True)
class Sticky:
    """Those with the prefix, unless that costs too much time; among them the least loaded.

        sticky = {e : hit / prompt >= affinity}
        penalty = (least pending tokens among sticky - least of all) / peak_prefill_tokens_per_s
        among = sticky if there are any and penalty <= max_penalty_s, else all

    Defaults of the guides of llm-d/llm-d-router ebab687: 0.80, 18 s, 15,928 tokens/s (calibrated
    there for Qwen-32B on 2 x H100; the operator is to measure it).  The last step counts pending
    tokens, for prefill-bound pools, or requests, for decode-bound ones.
    """

    rng: Random
    by_requests: bool = False
    affinity: float = 0.80
    max_penalty_s: float = 18.0
    peak_prefill_tokens_per_s: float = 15_928.0

    def route(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views, now: float
    ) -> EndpointId:
        def pending(endpoint_id: EndpointId) -> int:
            return views.load(endpoint_id).pending_tokens

        wanted = self.affinity * request.prompt_tokens
        sticky = [e for e in among if views.hit_tokens(e, request) >= wanted]
        if sticky:
            extra = min(map(pending, sticky)) - min(map(pending, among))
            if extra / self.peak_prefill_tokens_per_s <= self.max_penalty_s:
                among = sticky
        if self.by_requests:
            return least(among, lambda e: views.load(e).requests, self.rng)
        return least(among, pending, self.rng)
