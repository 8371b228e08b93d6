"""What a baseline is: a rule that picks one of the endpoints, from a router's views alone."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Protocol

from headway_core.facts import EndpointId, InferenceRequest
from headway_sim.views import Views


class Rule(Protocol):
    def route(
        self, request: InferenceRequest, among: Sequence[EndpointId], views: Views, now: float
    ) -> EndpointId:
        """Pick one of ``among``, which is not empty, and remember that it was picked."""


def least(among: Sequence[EndpointId], key: Callable[[EndpointId], Any], rng: Random) -> EndpointId:
    """The one with the least key; ties at random, so that an idle pool is used evenly."""
    keys = [key(endpoint_id) for endpoint_id in among]
    lowest = min(keys)
    tied = [e for e, k in zip(among, keys, strict=True) if k == lowest]
    return tied[0] if len(tied) == 1 else tied[rng.randrange(len(tied))]
