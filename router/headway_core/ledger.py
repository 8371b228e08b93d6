"""Who owes what: leases on endpoints, taken with the pick and returned exactly once.

A lease has two parts.  Its prefill part is what delays the next request's first token; it ends
with the first token, or when that is believed to have come.  The rest ends with the exchange.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from headway_core.estimate.work import NO_WORK, Work
from headway_core.facts import EndpointId
from headway_core.outcomes import Lease


@dataclass(slots=True)
class Load:
    """What is charged to one endpoint."""

    leases: int = 0
    unprefilled: dict[int, Work] = field(default_factory=dict)
    """By lease id, in the order of dispatch."""
    work: Work = NO_WORK
    """Sum of ``unprefilled``."""
    progress_since: float = 0.0
    """When the engine began what is now first in ``unprefilled``."""


class Ledger:
    """The leases of one pool.  Loads of endpoints that are gone stay until the last is returned."""

    def __init__(self) -> None:
        self.loads: defaultdict[EndpointId, Load] = defaultdict(Load)
        """To read."""
        self._holder: dict[int, EndpointId] = {}

    @property
    def outstanding(self) -> int:
        return len(self._holder)

    def charge(self, lease: Lease, endpoint_id: EndpointId, work: Work, now: float) -> None:
        load = self.loads[endpoint_id]
        if not load.unprefilled:
            load.progress_since = now
        load.leases += 1
        load.unprefilled[lease.lease_id] = work
        load.work = load.work.plus(work)
        self._holder[lease.lease_id] = endpoint_id

    def prefilled(self, lease_id: int, now: float) -> bool:
        """End the prefill part.  False: it had ended before."""
        endpoint_id = self._holder.get(lease_id)
        if endpoint_id is None:
            return False
        load = self.loads[endpoint_id]
        if lease_id not in load.unprefilled:
            return False
        if lease_id == next(iter(load.unprefilled)):
            load.progress_since = now
        work = load.unprefilled.pop(lease_id)
        load.work = load.work.minus(work) if load.unprefilled else NO_WORK
        return True

    def move(self, lease: Lease, endpoint_id: EndpointId, work: Work, now: float) -> None:
        """Another endpoint serves it after all: the charge follows."""
        self.release(lease.lease_id, now)
        self.charge(lease, endpoint_id, work, now)

    def release(self, lease_id: int, now: float) -> bool:
        """Return the lease.  False: it was returned before, or never taken."""
        self.prefilled(lease_id, now)
        endpoint_id = self._holder.pop(lease_id, None)
        if endpoint_id is None:
            return False
        self.loads[endpoint_id].leases -= 1
        return True

    def drop(self, endpoint_id: EndpointId) -> None:
        """Forget an endpoint that is gone, once nothing is charged to it."""
        load = self.loads.get(endpoint_id)
        if load is not None and not load.leases:
            del self.loads[endpoint_id]
