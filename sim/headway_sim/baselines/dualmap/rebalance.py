"""DualMap's hotspot-aware rebalancing: queued requests leave a loaded instance.

    for each queued r:  c_r = its TTFT inserted elsewhere - its TTFT where it stands
    move the r with the least c_r while that is negative, until what was over the limit is gone

Elsewhere is the other candidate of r; if that would be overloaded, the instance after the source.
Costs O(queue^2) per move, as in the released code.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headway_core.facts import EndpointId
from headway_sim.baselines.dualmap.queues import Queue, Waiting
from headway_sim.views import Views


@dataclass(frozen=True, slots=True)
class Load:
    """The instances as the scheduler sees them now; all in miss tokens."""

    instances: Sequence[EndpointId]
    queues: Mapping[EndpointId, Queue]
    views: Views
    limit_tokens: Callable[[EndpointId], float]
    """T: half the SLO's worth of prefill."""
    max_wait_s: float
    now: float

    def tokens(self, instance: EndpointId) -> int:
        """V: queued and pending miss tokens."""
        return self.queues[instance].miss_tokens + self.views.load(instance).pending_tokens

    def is_overloaded(self, instance: EndpointId, extra_tokens: int = 0) -> bool:
        oldest = self.queues[instance].oldest()
        waits_long = oldest is not None and self.now - oldest >= self.max_wait_s
        return waits_long or self.tokens(instance) + extra_tokens > self.limit_tokens(instance)


def rebalance(load: Load, source: EndpointId) -> None:
    """Move queued requests away from ``source``, which is overloaded."""
    queue = load.queues[source]
    target = load.tokens(source) - load.limit_tokens(source)
    moved = 0
    while len(queue) > 1:
        best: tuple[float, Waiting, EndpointId] | None = None
        for entry in queue:
            destination = _destination(load, entry, source)
            if destination is None:
                continue
            change_s = _ttft_s(load, entry, destination) - _ttft_s(load, entry, source)
            if best is None or change_s < best[0]:
                best = (change_s, entry, destination)
        if best is None or best[0] >= 0 or (target > 0 and moved >= target):
            return
        _, entry, destination = best
        moved += entry.miss_tokens
        queue.remove(entry)
        entry.hit_tokens = load.views.hit_tokens(destination, entry.request)
        entry.at = destination
        load.queues[destination].add(entry)


def _destination(load: Load, entry: Waiting, source: EndpointId) -> EndpointId | None:
    """None: there is no place that would not be overloaded by it."""
    other = entry.other()
    if other in load.queues and not _would_overload(load, entry, other):
        return other
    after = load.instances[(load.instances.index(source) + 1) % len(load.instances)]
    if after == other:
        after = load.instances[(load.instances.index(other) + 1) % len(load.instances)]
    if after == source or _would_overload(load, entry, after):
        return None
    return after


def _would_overload(load: Load, entry: Waiting, instance: EndpointId) -> bool:
    return load.is_overloaded(instance, load.views.miss_tokens(instance, entry.request))


def _ttft_s(load: Load, entry: Waiting, instance: EndpointId) -> float:
    """Where it stands or would stand in that queue."""
    hit = load.views.hit_tokens(instance, entry.request)
    miss = entry.request.prompt_tokens - hit
    ahead = load.queues[instance].ahead((-hit, entry.arrived, entry.number))
    pending = load.views.load(instance).pending_tokens
    return load.views.prefill_s(instance, ahead + pending + miss)
