"""Engines' cache events on their way to the routers: delayed, lost, and in the routers' hashes.

An engine tells of its own blocks.  As in production they are joined by request, not by hash: a
block that was stored for a request lies so many tokens deep in its prompt, and by the ratio of the
router's estimate to the true size that is one of the router's blocks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from headway_core.events import BlocksRemoved, BlocksStored, CacheCleared
from headway_core.facts import EndpointId
from headway_sim.engine import EngineEvent, KvCleared, KvRemoved, KvStored
from headway_sim.kernel import Kernel, ns
from headway_sim.seeds import Substreams
from headway_sim.world.gateway import Journey
from headway_sim.world.hosts import Host
from headway_sim.world.replica import Replica
from headway_sim.world.setting import KvEvents

CacheEvent = BlocksStored | BlocksRemoved | CacheCleared


@dataclass(slots=True)
class _Known:
    """What an engine has told: its blocks, how often each is stored, and what they are to us."""

    copies: dict[int, int] = field(default_factory=dict)
    ours: dict[int, int] = field(default_factory=dict)


class KvFeed:
    def __init__(
        self,
        events: KvEvents,
        kernel: Kernel,
        streams: Substreams,
        replicas: Sequence[Replica],
        journey: Callable[[str], Journey | None],
    ) -> None:
        self._events = events
        self._kernel = kernel
        self._rng = streams.stream("kv-events")
        self._replicas = replicas
        self._journey = journey
        self._known: dict[EndpointId, _Known] = {}

    def told(self, host: Host, event: EngineEvent) -> None:
        """Pass on what is about the cache."""
        known = self._known.setdefault(host.endpoint_id, _Known())
        translated: CacheEvent | None = None
        match event:
            case KvStored():
                translated = self._stored(host, known, event)
            case KvRemoved(_, hashes):
                translated = _removed(host.endpoint_id, known, hashes)
            case KvCleared():
                translated = self.cleared(host.endpoint_id)
        if translated is not None:
            self._publish(translated)

    def restarted(self, host: Host) -> None:
        """A new process tells that its cache is empty."""
        self._publish(self.cleared(host.endpoint_id))

    def cleared(self, endpoint_id: EndpointId) -> CacheCleared:
        self._known[endpoint_id] = _Known()
        return CacheCleared(endpoint_id)

    def _stored(self, host: Host, known: _Known, event: KvStored) -> BlocksStored | None:
        journey = self._journey(event.request_id)
        if journey is None:
            return None
        facts, record = journey.facts, journey.record
        ratio = record.estimated_tokens / record.prompt_tokens
        ours_per_block = host.spec.config.block_tokens * ratio / facts.block_tokens
        for index, engine_hash in enumerate(event.hashes, event.first_index):
            known.copies[engine_hash] = known.copies.get(engine_hash, 0) + 1
            depth = int(index * ours_per_block)
            if depth < len(facts.blocks):
                known.ours[engine_hash] = facts.blocks[depth]
        covered = int((event.first_index + len(event.hashes)) * ours_per_block + 1e-9)
        blocks = facts.blocks[:covered]
        return BlocksStored(host.endpoint_id, blocks, facts.block_tokens) if blocks else None

    def _publish(self, event: CacheEvent) -> None:
        delivered_s = self._kernel.now_s + self._events.delay_s
        is_lost = self._rng.random() < self._events.loss
        if is_lost or any(start <= delivered_s < end for start, end in self._events.gaps_s):
            return
        self._kernel.at(self._kernel.now_ns + ns(self._events.delay_s), self._deliver, event)

    def _deliver(self, event: CacheEvent) -> None:
        for replica in self._replicas:
            replica.observe(event)


def _removed(endpoint_id: EndpointId, known: _Known, hashes: Sequence[int]) -> BlocksRemoved | None:
    """Ours are gone as soon as the last copy of one of their engine blocks is."""
    gone: dict[int, None] = {}
    for engine_hash in hashes:
        left = known.copies.get(engine_hash, 0) - 1
        if left > 0:
            known.copies[engine_hash] = left
            continue
        known.copies.pop(engine_hash, None)
        ours = known.ours.pop(engine_hash, None)
        if ours is not None:
            gone[ours] = None
    return BlocksRemoved(endpoint_id, tuple(gone)) if gone else None
