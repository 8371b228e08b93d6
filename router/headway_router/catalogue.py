"""What the edge looks up in the fleet per request, indexed once when the fleet is applied."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from headway_core.facts import EndpointId
from headway_core.outcomes import Decision
from headway_core.policy import Fleet
from headway_router.openai.models import models_list


@dataclass(frozen=True, slots=True)
class ModelName:
    """What a client's model name stands for; aliases of one model are one prefix cache."""

    model: str
    adapter: str | None = None


class Catalogue:
    """Names of models and addresses of endpoints.  ``applied_s`` is Unix time."""

    def __init__(self, fleet: Fleet, applied_s: int = 0) -> None:
        self.models_list = models_list(fleet, applied_s)
        """The body of ``GET /v1/models``."""
        self._names: dict[str, ModelName] = {}
        self._models: dict[str, str] = {}
        self._by_host: defaultdict[str, set[EndpointId]] = defaultdict(set)
        self._telling = {p.name for p in fleet.pools if p.policy.observability.response_header}
        for pool in fleet.pools:
            self._models[pool.name] = pool.model
            for name in (pool.model, *pool.aliases):
                self._names[name] = ModelName(pool.model)
            for name in pool.adapters:
                self._names[name] = ModelName(pool.model, name)
            for endpoint in pool.endpoints:
                host = endpoint.endpoint_id.rpartition(":")[0]
                self._by_host[host].add(endpoint.endpoint_id)

    def shown(self, decision: Decision) -> str | None:
        """What the client is told of it; None: nothing."""
        if decision.pool not in self._telling:
            return None
        return f"{decision.reason}; endpoint={decision.endpoint_id}; pool={decision.pool}"

    def model_name(self, requested_model: str) -> ModelName | None:
        """None: no pool serves it."""
        return self._names.get(requested_model)

    def model_of(self, pool: str) -> str | None:
        """None: the pool is gone."""
        return self._models.get(pool)

    def endpoints_among(self, addresses: Iterable[str]) -> frozenset[EndpointId]:
        """Endpoints that a gateway's subset names.

        ``ip:port`` names itself, whether known or not; an address without a port names all
        known endpoints there (each port of a pod is one).  IPv6 is in brackets if it has a port.
        """
        named: set[EndpointId] = set()
        for address in addresses:
            if _has_port(address):
                named.add(address)
            else:
                host = f"[{address.strip('[]')}]" if ":" in address else address
                named |= self._by_host.get(host, set())
        return frozenset(named)


def _has_port(address: str) -> bool:
    if address.startswith("["):
        return "]:" in address
    return address.count(":") == 1
