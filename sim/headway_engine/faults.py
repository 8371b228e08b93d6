"""Faults that can be switched on while the server runs; what they mean is in ``control.py``."""

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True)
class Faults:
    kv_delay_s: float = 0.0
    """KV event batches arrive this much later."""
    kv_lost_batches: int = 0
    """So many further batches are lost; -1: all."""
    refusing: bool = False
    """Every generation request gets the 503 of a full queue."""
    chunk_delay_s: float = 0.0
    """Pause before each write of a stream, as if its consumer were slow."""
    stale_metrics: bool = False
    frozen_metrics: str | None = field(default=None, repr=False)
    """The text that ``/metrics`` keeps answering with; None: the next scrape fixes it."""

    metrics_gone: bool = False
    """``/metrics`` is not there."""

    def loses_kv_batch(self) -> bool:
        if self.kv_lost_batches > 0:
            self.kv_lost_batches -= 1
            return True
        return self.kv_lost_batches < 0

    async def slow_down(self) -> None:
        if self.chunk_delay_s > 0:
            await asyncio.sleep(self.chunk_delay_s)

    def heal(self) -> None:
        self.kv_delay_s = 0.0
        self.kv_lost_batches = 0
        self.refusing = False
        self.chunk_delay_s = 0.0
        self.stale_metrics = False
        self.frozen_metrics = None
        self.metrics_gone = False
