"""One sequence in flight: what was asked, how far it is, and whom to wake.

Times are engine nanoseconds until they leave the process; ``EngineClock`` makes wall seconds of
them.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from headway_engine.answer_plan import AnswerPlan
from headway_engine.continuation import Continuation
from headway_engine.errors import Refused
from headway_engine.token_blocks import TokenBlocks


class Inbox:
    """Wakes the one response that waits for it, however many sequences it has."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        """Return when something has happened since the last call."""
        await self._event.wait()
        self._event.clear()


@dataclass(slots=True, eq=False)
class Siblings:
    """The n samples of one prompt: vLLM counts their parameters once."""

    n: int
    unfinished: int
    longest: int = 0
    """Tokens of the longest finished sample."""


@dataclass(slots=True, eq=False, kw_only=True)
class Generation:
    engine_id: str
    """The engine's name for it, unique in the process."""
    prompt: Sequence[int]
    continuation: Continuation
    plan: AnswerPlan
    blocks: TokenBlocks
    max_tokens: int
    inbox: Inbox
    siblings: Siblings
    wake_every: int | None
    """Wake the response at the first token and at every so many; None: only at the end."""
    session_id: str | None = None
    adapter_id: int | None = None
    priority: int = 0

    arrived_ns: int = 0
    scheduled_ns: int | None = None
    first_token_ns: int | None = None
    last_token_ns: int | None = None
    cached_tokens: int | None = None
    """Prompt tokens found in the cache when it was first scheduled."""
    preemptions: int = 0
    emitted: int = 0
    """Output tokens that have left the engine."""
    finish_reason: str | None = None
    error: Refused | None = None
    end_is_told: bool = False
    """Whoever takes the tokens has taken the last one, and knows that it is."""
    _taken: int = field(default=0)

    @property
    def adapter(self) -> str | None:
        return self.blocks.identity.adapter

    @property
    def stop_reason(self) -> str | int | None:
        """The stop string or token that has ended it."""
        ended_as_planned = self.finish_reason == self.plan.finish_reason
        return self.plan.stop_reason if ended_as_planned else None

    @property
    def is_over(self) -> bool:
        return self.finish_reason is not None or self.error is not None

    @property
    def has_news(self) -> bool:
        return self._taken < self.emitted

    def take(self, at_most: int | None = None) -> list[int]:
        """The tokens that have left the engine since the last call."""
        start, end = self._taken, self.emitted
        if at_most is not None:
            end = min(end, start + at_most)
        self._taken = end
        self.end_is_told = self.finish_reason is not None and end == self.emitted
        return self.continuation.upto(end)[start:end]
