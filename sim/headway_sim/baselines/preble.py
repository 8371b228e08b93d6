"""Preble's E2 (exploit or explore), without its replication of hot prefixes."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from headway_core.facts import EndpointId, InferenceRequest
from headway_sim.baselines.rule import least
from headway_sim.views import Views


@dataclass(slots=True)
class Preble:
    """Where most of the prompt is cached, else where the recent work is least:

        hit > miss on the best endpoint -> the least cost among those with the longest hit
        otherwise                       -> the least cost + own prefill over all
        cost = sum over what was sent there in window_s of (prefill of its miss + output decoding)

    Window of 3 minutes as in the paper (Srivatsa et al., ICLR 2025).  The output length is not
    known when a request is sent, so every request counts ``expected_output_tokens``.  Left out:
    the cost of evictions, and replication when a prefix's TTFT doubles within the window.
    """

    rng: Random
    window_s: float = 180.0
    expected_output_tokens: int = 256
    tpot_s: float = 0.002
    """Share of a decode step that one more sequence costs: 2 ms in DualMap's evaluation."""
    _sent: deque[tuple[float, EndpointId, float]] = field(default_factory=deque, init=False)
    _cost_s: dict[EndpointId, float] = field(default_factory=dict, init=False)

    def route(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views, now: float
    ) -> EndpointId:
        self._forget(now - self.window_s)
        chosen = self._choose(request, among, views)
        cost_s = views.prefill_s(chosen, views.miss_tokens(chosen, request))
        cost_s += self.expected_output_tokens * self.tpot_s
        self._sent.append((now, chosen, cost_s))
        self._cost_s[chosen] = self._cost_s.get(chosen, 0.0) + cost_s
        return chosen

    def _choose(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views
    ) -> EndpointId:
        longest = max(views.hit_tokens(e, request) for e in among)
        if longest > request.prompt_tokens - longest:
            holders = [e for e in among if views.hit_tokens(e, request) == longest]
            return least(holders, lambda e: self._cost_s.get(e, 0.0), self.rng)

        def with_own(endpoint_id: EndpointId) -> float:
            own_s = views.prefill_s(endpoint_id, views.miss_tokens(endpoint_id, request))
            return self._cost_s.get(endpoint_id, 0.0) + own_s

        return least(among, with_own, self.rng)

    def _forget(self, before: float) -> None:
        while self._sent and self._sent[0][0] < before:
            _, endpoint_id, cost_s = self._sent.popleft()
            self._cost_s[endpoint_id] = max(0.0, self._cost_s[endpoint_id] - cost_s)
