"""NVIDIA Dynamo's KV router cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from random import Random

from headway_core.facts import EndpointId, InferenceRequest
from headway_sim.baselines.rule import least
from headway_sim.views import Views


@dataclass(slots=True)
class Dynamo:
    """Blocks to prefill and to decode, the cached ones credited:

        raw    = (pending miss tokens + prompt tokens) / block
        decay  = 1 / (1 + credit_decay * excess / own)
        credit = overlap_credit * decay * hit / block
        logit  = prefill_load_scale * max(0, raw - credit)
                 + decode blocks + active_weight * requests

    ``excess`` is what its raw prefill has over the least loaded one, ``own`` the request's blocks;
    decode blocks are those of all prompts in flight and this one.  The least logit, or with a
    temperature p ~ exp(-(logit - min) / ((max - min) * temperature)).  Defaults of ai-dynamo/dynamo
    v1.4: credit 1, decay 0, scale 1, weight of active requests 0, temperature 0.
    """

    rng: Random
    overlap_credit: float = 1.0
    credit_decay: float = 0.0
    prefill_load_scale: float = 1.0
    active_weight: float = 0.0
    temperature: float = 0.0
    block_tokens: int = 16

    def route(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views, now: float
    ) -> EndpointId:
        logits = self._logits(request, among, views)
        low, high = min(logits.values()), max(logits.values())
        if self.temperature == 0 or low == high:
            return least(among, logits.__getitem__, self.rng)
        spread = (high - low) * self.temperature
        weights = [exp(-(logits[e] - low) / spread) for e in among]
        return self.rng.choices(among, weights)[0]

    def _logits(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views
    ) -> dict[EndpointId, float]:
        own = request.prompt_tokens / self.block_tokens
        raw = {e: views.load(e).pending_tokens / self.block_tokens + own for e in among}
        lightest = min(raw.values())
        logits = {}
        for e in among:
            load = views.load(e)
            decay = 1 / (1 + self.credit_decay * (raw[e] - lightest) / own)
            hit_blocks = views.hit_tokens(e, request) / self.block_tokens
            prefill = max(0.0, raw[e] - self.overlap_credit * decay * hit_blocks)
            decode = load.prompt_tokens / self.block_tokens + own
            logits[e] = (
                self.prefill_load_scale * prefill + decode + self.active_weight * load.requests
            )
        return logits
