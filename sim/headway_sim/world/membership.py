"""Which endpoints the fleet declares, and when the routers hear of a change."""

from collections.abc import Sequence
from dataclasses import replace

from headway_core.facts import EndpointId, EndpointState
from headway_core.policy import Fleet
from headway_sim.kernel import Kernel, ns
from headway_sim.world.replica import Replica


class Membership:
    """The fleet as declared now.  Replicas get every change whole, ``discovery_s`` later."""

    def __init__(
        self, fleet: Fleet, absent: Sequence[EndpointId], kernel: Kernel, discovery_s: float
    ) -> None:
        self._declared = fleet
        self._absent = set(absent)
        self._draining: set[EndpointId] = set()
        self._kernel = kernel
        self._discovery_ns = ns(discovery_s)
        self._replicas: Sequence[Replica] = ()

    def fleet(self) -> Fleet:
        return Fleet(
            pools=tuple(
                replace(
                    pool,
                    endpoints=tuple(
                        replace(endpoint, state=EndpointState.DRAINING)
                        if endpoint.endpoint_id in self._draining
                        else endpoint
                        for endpoint in pool.endpoints
                        if endpoint.endpoint_id not in self._absent
                    ),
                )
                for pool in self._declared.pools
            )
        )

    def tell(self, replicas: Sequence[Replica]) -> None:
        """These replicas know the fleet from the start."""
        self._replicas = replicas
        for replica in replicas:
            replica.apply(self.fleet())

    def add(self, endpoint_id: EndpointId) -> None:
        self._absent.discard(endpoint_id)
        self._draining.discard(endpoint_id)
        self._publish()

    def drain(self, endpoint_id: EndpointId) -> None:
        self._draining.add(endpoint_id)
        self._publish()

    def remove(self, endpoint_id: EndpointId) -> None:
        self._absent.add(endpoint_id)
        self._publish()

    def _publish(self) -> None:
        self._kernel.after(self._discovery_ns, self._deliver, self.fleet())

    def _deliver(self, fleet: Fleet) -> None:
        for replica in self._replicas:
            replica.apply(fleet)
