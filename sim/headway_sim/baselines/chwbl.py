"""KubeAI's consistent hashing with bounded loads (CHWBL)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from headway_core.facts import EndpointId, InferenceRequest
from headway_sim.baselines.ring import Ring
from headway_sim.views import Views


@dataclass(slots=True)
class Chwbl:
    """The first endpoint clockwise from the prompt's head whose load stays within a bound:

        requests + 1 <= load_factor * (all requests + 1) / endpoints

    Defaults of kubeai-project/kubeai f442a2c: load factor 125 %, 256 points each.  Its key is the
    first 100 characters of the prompt and the adapter; a router that sees blocks takes the first
    ``key_blocks`` of them.  A prompt shorter than a block has a key of its own.
    """

    rng: Random
    load_factor: float = 1.25
    replication: int = 256
    key_blocks: int = 1
    _ring: Ring | None = field(default=None, init=False)
    _on_ring: tuple[EndpointId, ...] = field(default=(), init=False)

    def route(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views, now: float
    ) -> EndpointId:
        if self._ring is None or self._on_ring != tuple(among):
            self._on_ring = tuple(among)
            self._ring = Ring(self._on_ring, self.replication)
        if request.blocks:
            key = request.blocks[min(self.key_blocks, len(request.blocks)) - 1]
        else:
            key = self.rng.getrandbits(64)
        total = sum(views.load(e).requests for e in among)
        bound = self.load_factor * (total + 1) / len(among)
        walk = list(self._ring.walk(key))
        return next((e for e in walk if views.load(e).requests + 1 <= bound), walk[0])
