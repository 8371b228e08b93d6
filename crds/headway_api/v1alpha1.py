"""``headway.dev/v1alpha1``: the kinds, with the fields that this version obeys.

Rules between fields are in ``rules``; what becomes of each field is in ``compiler``.
"""

from headway_api.model_pool import ModelPool
from headway_api.routing_policy import RoutingPolicy

API_VERSION = "headway.dev/v1alpha1"

KINDS: dict[str, type[ModelPool] | type[RoutingPolicy]] = {
    "ModelPool": ModelPool,
    "RoutingPolicy": RoutingPolicy,
}
