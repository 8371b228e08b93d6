"""Whether a request may go now, must wait, or is refused: pure checks without state.

A request is shed only by an explicit answer, early, and with a hint when to come back; never by a
silent timeout.
"""

from collections.abc import Sequence

from headway_core.choice import Prospect
from headway_core.facts import Capacity
from headway_core.ledger import Load

WINDOW_BATCHES = 2
"""vLLM composes batch n+1 when batch n starts: with less than two batches of prefill dispatched it
runs dry between a first token and the next dispatch; more only moves the queue to where it cannot
be reordered."""


def fits(load: Load, tokens: float, capacity: Capacity, foreign_waiting: int) -> bool:
    """May these tokens be dispatched on top of what the engine has not prefilled yet?

    Where nothing of ours waits for its prefill any request goes, however long, and whatever
    others have waiting there: routers that share an engine would else wait for each other.
    """
    if not load.unprefilled:
        return True
    if foreign_waiting:
        return False
    return load.work.tokens + tokens <= WINDOW_BATCHES * capacity.batch_tokens


def is_hopeless(prospects: Sequence[Prospect], ttft_s: float | None) -> bool:
    """Is every candidate predicted to miss the SLO?"""
    return ttft_s is not None and all(p.candidate.ttft_s > ttft_s for p in prospects)


def retry_after_s(prospects: Sequence[Prospect], ttft_s: float | None) -> float:
    """When the least loaded candidate will have drained enough; at least a second."""
    soonest = min((p.candidate.ttft_s for p in prospects), default=0.0)
    return max(1.0, soonest - (ttft_s or 0.0))
