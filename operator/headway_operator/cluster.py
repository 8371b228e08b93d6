"""What a reconciliation asks of the cluster; ``kubernetes`` has the one implementation."""

from collections.abc import Sequence
from typing import Protocol

from headway_operator.model_pool.plan import PoolEvent
from headway_operator.names import Manifest, PoolKey


class Cluster(Protocol):
    """All of them raise ClusterUnavailable; what writes raises NotLeading too."""

    async def pool(self, key: PoolKey) -> Manifest | None:
        """None: there is none."""

    async def children(self, key: PoolKey) -> list[Manifest]:
        """Deployments and budgets with the label of the pool."""

    async def child(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """A Deployment or budget whatever its labels.  None: there is none."""

    async def pods(self, namespace: str, labels: dict[str, str]) -> Sequence[Manifest]:
        """Pods that have all of the labels."""

    async def apply(self, manifest: Manifest, manager: str) -> Manifest:
        """By force.  Raises InvalidSpec: the API server refuses it for good."""

    async def apply_status(self, body: Manifest, status: Manifest) -> None:
        """Of the very object that was read, not of one that replaced it."""

    async def delete(self, live: Manifest) -> None:
        """The very object; that it is gone already is fine."""

    async def emit(self, body: Manifest, event: PoolEvent, now: float) -> None:
        """An Event about the pool."""
