"""Which keys want a look: each once, never two workers on one, later and later if it fails."""

import asyncio
from collections.abc import Hashable
from random import Random
from typing import Generic, TypeVar

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 300.0

Key = TypeVar("Key", bound=Hashable)


class WorkQueue(Generic[Key]):
    """For one event loop."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        """In ``_ready``, or wanted again by the worker that has it."""
        self._working: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: Key) -> None:
        """Soon.  A key that is being worked on comes again when that is done."""
        if key in self._waiting:
            return
        self._waiting.add(key)
        if key not in self._working:
            self._ready.put_nowait(key)

    def add_after(self, key: Key, delay_s: float) -> None:
        """The earliest of several times counts."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + delay_s
        known = self._timers.get(key)
        if known is not None:
            if known.when() <= due_s:
                return
            known.cancel()
        self._timers[key] = loop.call_at(due_s, self._due, key)

    def retry(self, key: Key, delay_s: float | None = None) -> None:
        """After a failure: ``delay_s`` as asked for, else twice as long as the last time."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        backoff_s = min(FIRST_RETRY_S * 2 ** min(failures, 20), LAST_RETRY_S)
        jitter = 0.5 + self._rng.random() / 2
        self.add_after(key, max(backoff_s * jitter, delay_s or 0.0))

    def forget(self, key: Key) -> None:
        """After a success."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """The next key; ``done`` must follow."""
        key = await self._ready.get()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        self._working.discard(key)
        if key in self._waiting:
            self._ready.put_nowait(key)

    def _due(self, key: Key) -> None:
        del self._timers[key]
        self.add(key)
