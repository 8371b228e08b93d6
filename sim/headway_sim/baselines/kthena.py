"""Kthena's default: four scores, each with the weight one."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from headway_core.facts import EndpointId, InferenceRequest
from headway_sim.baselines.rule import least
from headway_sim.views import Views


@dataclass(slots=True)
class EqualWeights:
    """The highest sum of four scores from 0 to 1, among endpoints with a short queue.

        filter         waiting < max_waiting; if none passes, all
        least-request  1 - v / max v,   v = own + 100 * max(own - running, 0)
        gpu-usage      1 - KV usage
        least-latency  1 - (TTFT - min) / (max - min)
        prefix-cache   hit / prompt

    Of volcano-sh/kthena 3cc0572: waiting at most 10, all weights 1.  ``own`` are this router's
    requests in flight, ``running`` is scraped.  Its latency score is half TTFT, half TPOT; a
    router that does not read streams to the end only has the first, so here it is all of it.
    What is unknown scores 0, and a latency that is unknown 1, so that everybody is tried.
    """

    rng: Random
    max_waiting: int = 10

    def route(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views, now: float
    ) -> EndpointId:
        short = [e for e in among if (views.engine(e).waiting or 0) < self.max_waiting]
        among = short or among
        counts = {e: self._count(e, views) for e in among}
        most = max(counts.values()) or 1
        seen = [t for e in among if (t := views.load(e).ttft_s) is not None]
        slowest, quickest = max(seen, default=0.0), min(seen, default=0.0)

        def score(endpoint_id: EndpointId) -> float:
            kv_usage, ttft_s = views.engine(endpoint_id).kv_usage, views.load(endpoint_id).ttft_s
            latency = 1.0
            if ttft_s is not None and slowest > quickest:
                latency = 1 - (ttft_s - quickest) / (slowest - quickest)
            return (
                1
                - counts[endpoint_id] / most
                + (0.0 if kv_usage is None else 1 - kv_usage)
                + latency
                + views.hit_tokens(endpoint_id, request) / max(1, request.prompt_tokens)
            )

        return least(among, lambda e: -score(e), self.rng)

    def _count(self, endpoint_id: EndpointId, views: Views) -> int:
        own, running = views.load(endpoint_id).requests, views.engine(endpoint_id).running
        return own + 100 * max(own - (own if running is None else running), 0)
