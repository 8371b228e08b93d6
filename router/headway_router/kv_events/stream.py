"""Follows one engine's event stream: batches in order, gaps replayed, another process noticed.

No I/O: told of each batch, it says what to ask for; `subscription` asks.
"""

import logging
from collections.abc import Callable

from headway_core.facts import EndpointId
from headway_router.kv_events.health import JoinHealth
from headway_router.kv_events.join import CacheEvent, EngineCache, Overflow
from headway_router.kv_events.outcomes import BatchOutcome, CacheKnowledge, ResetReason
from headway_router.kv_events.prompts import Prompts
from headway_router.kv_events.sequence import Arrival, Sequence
from headway_router.kv_events.wire import MalformedEvents, decode
from headway_router.metrics import Metrics

log = logging.getLogger(__name__)


class EventStream:
    """``observe`` gets what the events say of our blocks."""

    def __init__(
        self,
        endpoint_id: EndpointId,
        prompts: Prompts,
        observe: Callable[[CacheEvent], None],
        metrics: Metrics,
    ) -> None:
        self._endpoint_id = endpoint_id
        self._observe = observe
        self._metrics = metrics
        self._cache = EngineCache(endpoint_id, prompts.get)
        self._sequence = Sequence()
        self._health = JoinHealth()

    @property
    def knowledge(self) -> CacheKnowledge:
        return self._health.knowledge

    @property
    def engine_blocks(self) -> int:
        """Blocks that the engine is known to hold."""
        return len(self._cache)

    def replay_from(self) -> int:
        """What to ask a replay for: the last batch that is here already is asked for again, as
        its content tells whether the process is still the same."""
        due = self._sequence.next
        return max(0, due - 1) if due is not None else 0

    def live(self, number: int, payload: bytes) -> bool:
        """A batch came.  Returns: False: not taken, as others before it are missing.

        Then either replay, and tell it again, or give up (`missed`) and tell it again.
        """
        match self._sequence.arrival(number, payload):
            case Arrival.NEXT:
                self._take(number, payload, BatchOutcome.LIVE)
            case Arrival.REPEATED:
                self._metrics.kv_batches.labels(BatchOutcome.REPEATED).add()
            case Arrival.RESTARTED:
                self._restarted()
                return self.live(number, payload)
            case Arrival.GAP:
                return False
        return True

    def replayed(self, number: int, payload: bytes) -> bool:
        """A batch came by replay.  Returns: False: another process has begun at 0 again, so ask
        again from there."""
        match self._sequence.arrival(number, payload):
            case Arrival.NEXT:
                self._take(number, payload, BatchOutcome.REPLAYED)
            case Arrival.REPEATED:
                pass
            case Arrival.RESTARTED:
                self._restarted()
                return number == 0 and self.replayed(number, payload)
            case Arrival.GAP:
                self.missed(number)
                self._take(number, payload, BatchOutcome.REPLAYED)
        return True

    def replay_ended(self) -> None:
        """All that the engine keeps is here.  If that is nothing, it has not begun."""
        if self._sequence.next is None:
            self._sequence.restart()

    def missed(self, next_number: int | None) -> None:
        """What came before this number is lost for good.  None: whatever comes first."""
        is_late = self._sequence.next in (None, 0) and not len(self._cache)
        if not is_late:
            self._reset(ResetReason.GAP)
        self._sequence.restart(next_number)

    def closed(self) -> None:
        """Nothing is heard any more, and nothing can be said of what holds."""
        self._cache.forget()
        self._health.reset()
        self._sequence.restart(None)

    def _restarted(self) -> None:
        self._reset(ResetReason.RESTARTED)
        self._sequence.restart()
        self._observe(self._cache.restarted())

    def _reset(self, why: ResetReason) -> None:
        self._cache.forget()
        self._health.reset()
        self._metrics.kv_resets.labels(why).add()
        extra = {"endpoint": self._endpoint_id, "reason": why.value}
        log.warning("kv_events.reset", extra=extra)

    def _take(self, number: int, payload: bytes, how: BatchOutcome) -> None:
        self._sequence.took(number, payload)
        try:
            events = decode(payload)
        except MalformedEvents:
            self._metrics.kv_batches.labels(BatchOutcome.MALFORMED).add()
            self._reset(ResetReason.MALFORMED)
            return
        self._metrics.kv_batches.labels(how).add()
        try:
            for event in events:
                if (told := self._cache.apply(event)) is not None:
                    self._observe(told)
        except Overflow:
            self._reset(ResetReason.OVERFLOW)
        stored = self._cache.take_stored()
        for outcome, blocks in stored.items():
            self._metrics.kv_stored_blocks.labels(outcome).add(blocks)
        before = self.knowledge
        self._health.count(stored)
        if self.knowledge is not before:
            extra = {"endpoint": self._endpoint_id, "knowledge": self.knowledge.value}
            log.info("kv_events.knowledge", extra=extra)
