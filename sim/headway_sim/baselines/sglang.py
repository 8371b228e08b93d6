"""The cache-aware policy of SGLang's router and of SMG, with both of its rules for a miss."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from headway_core.facts import EndpointId, InferenceRequest
from headway_sim.baselines.rule import least
from headway_sim.views import Views


@dataclass(slots=True)
class CacheAware:
    """Balance if the loads are far apart, else the longest match, else the rule for a miss:

        max - min > balance_abs  and  max > balance_rel * min     -> fewest requests
        longest match / prompt > cache_threshold                  -> that endpoint
        otherwise: a miss   -> fewest requests (SMG), or the smallest tree (older SGLang)

    Defaults of the command line, lightseekorg/smg 73da68c: 64, 1.5, 0.3.  The size of a tree is
    the number of prompt tokens that it was not yet known to have.
    """

    rng: Random
    balance_abs: int = 64
    balance_rel: float = 1.5
    cache_threshold: float = 0.3
    miss_to_smallest_tree: bool = False
    _tree_tokens: dict[EndpointId, int] = field(default_factory=dict, init=False)

    def route(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views, now: float
    ) -> EndpointId:
        chosen = self._choose(request, among, views)
        grown = self._tree_tokens.get(chosen, 0) + views.miss_tokens(chosen, request)
        self._tree_tokens[chosen] = grown
        return chosen

    def _choose(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views
    ) -> EndpointId:
        def requests(endpoint_id: EndpointId) -> int:
            return views.load(endpoint_id).requests

        loads = [requests(e) for e in among]
        most, fewest = max(loads), min(loads)
        if most - fewest > self.balance_abs and most > self.balance_rel * fewest:
            return least(among, requests, self.rng)
        best = least(among, lambda e: -views.hit_tokens(e, request), self.rng)
        if views.hit_tokens(best, request) > self.cache_threshold * request.prompt_tokens:
            return best
        if self.miss_to_smallest_tree:
            return least(among, lambda e: self._tree_tokens.get(e, 0), self.rng)
        return least(among, requests, self.rng)


@dataclass(slots=True)
class SmgLeastLoad:
    """SMG's ``least_load``, in seconds:

        tokens in flight / throughput + kv_weight_s * k / (1 - k),     k = KV usage, at most 0.99

    Defaults of lightseekorg/smg 73da68c: 2,000 tokens/s where no rate is known, 0.15 s.  Its live
    rate (tokens that an engine generated lately) is not among the metrics that are scraped here.
    An engine that was not scraped yet counts as empty.
    """

    rng: Random
    throughput_tokens_per_s: float = 2000.0
    kv_weight_s: float = 0.15

    def route(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views, now: float
    ) -> EndpointId:
        def seconds(endpoint_id: EndpointId) -> float:
            k = min(views.engine(endpoint_id).kv_usage or 0.0, 0.99)
            tokens = views.load(endpoint_id).prompt_tokens
            return tokens / self.throughput_tokens_per_s + self.kv_weight_s * k / (1 - k)

        return least(among, seconds, self.rng)
