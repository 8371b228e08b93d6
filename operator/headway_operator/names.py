"""The names by which the operator knows what is its own."""

from typing import Any, NamedTuple

Manifest = dict[str, Any]
"""An object as the API server has it."""

PREFIX = "headway.dev/"
POOL = "headway.dev/pool"
GROUP = "headway.dev/group"
ROLE = "headway.dev/role"
APPLIED = "headway.dev/applied-hash"
"""Annotation: what was applied last, so that an object that needs no write gets none."""

DRAIN = "headway.dev/drain"
"""Annotation of a pod that was chosen to end: since when.  Routers send it nothing new."""

MANAGER = "headway-operator"
"""Field manager of all that the operator applies."""
ANNOUNCER = "headway-discovery"
"""Field manager of what a status says about routers."""
PROGRAMMED, POLICY_AFFECTED = "Programmed", "PolicyAffected"
"""Conditions of a pool that it writes."""
HANDOVER = "headway-handover"
"""Field manager that keeps replicas as they are when the operator lets go of them."""

MAX_LABEL = 63


class PoolKey(NamedTuple):
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def selector(pool: str) -> str:
    """Selects all pods that the operator owns for the pool."""
    return f"{POOL}={pool}"


def child(pool: str, group: str) -> str:
    """Name of the Deployment and the PodDisruptionBudget of a group."""
    return f"{pool}-{group}"


def owner_uid(manifest: Manifest) -> str | None:
    """Uid of the controller that owns the object; None: nobody does."""
    for owner in manifest["metadata"].get("ownerReferences", ()):
        if owner.get("controller"):
            return str(owner["uid"])
    return None
