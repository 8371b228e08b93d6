"""How long blocks live in the prefix cache: the histograms of ``--kv-cache-metrics``.

An observer of the driver.  Blocks are known by their hash, so a block's life begins when it is
registered; a request that finds it cached uses it again.
"""

from collections.abc import Mapping, Sequence

from headway_engine.clock import EngineClock
from headway_engine.generation import Generation
from headway_engine.vllm_series import VllmSeries
from headway_sim.engine.facts import EngineEvent, KvCleared, KvRemoved, KvStored, Scheduled


class BlockResidency:
    def __init__(self, series: VllmSeries, clock: EngineClock) -> None:
        self._series = series
        self._clock = clock
        self._uses: dict[int, tuple[int, int]] = {}
        """Hash -> (registered, last used)."""

    def step_ended(self, events: Sequence[EngineEvent], owners: Mapping[str, Generation]) -> None:
        for event in events:
            match event:
                case Scheduled():
                    if (owner := owners.get(event.request_id)) is not None:
                        self._used_again(owner, event)
                case KvStored():
                    for block_hash in event.hashes:
                        self._uses.setdefault(block_hash, (event.at_ns, event.at_ns))
                case KvRemoved():
                    for block_hash in event.hashes:
                        self._evicted(block_hash, event.at_ns)
                case KvCleared():
                    self._uses.clear()

    def _used_again(self, owner: Generation, event: Scheduled) -> None:
        cached_blocks = event.cached_tokens // owner.blocks.block_tokens
        for index in range(cached_blocks):
            block_hash = owner.blocks.hash_of(index)
            use = self._uses.get(block_hash)
            if use is not None:
                self._series.block_reuse.observe(self._clock.wall_s(event.at_ns - use[1]))
                self._uses[block_hash] = use[0], event.at_ns

    def _evicted(self, block_hash: int, at_ns: int) -> None:
        use = self._uses.pop(block_hash, None)
        if use is not None:
            registered_ns, used_ns = use
            self._series.block_lifetime.observe(self._clock.wall_s(at_ns - registered_ns))
            self._series.block_idle.observe(self._clock.wall_s(at_ns - used_ns))
