"""When to publish: soon after things have come to rest, and never too often.  Pure."""

QUIET_S = 0.05
"""Without a change."""
AT_MOST_S = 0.2
"""After the first change; and between two snapshots."""


class Debounce:
    def __init__(self) -> None:
        self._first_s: float | None = None
        self._last_s = 0.0
        self._is_urgent = False
        self._published_s = float("-inf")

    def changed(self, now: float, *, is_urgent: bool) -> None:
        """Urgent: what routers must not use any more."""
        if self._first_s is None:
            self._first_s = now
        self._last_s = now
        self._is_urgent |= is_urgent

    def due_s(self) -> float | None:
        """When to publish.  None: nothing has changed."""
        if self._first_s is None:
            return None
        quiet_s = min(self._last_s + QUIET_S, self._first_s + AT_MOST_S)
        return max(self._first_s if self._is_urgent else quiet_s, self._published_s + AT_MOST_S)

    def published(self, now: float) -> None:
        self._first_s, self._is_urgent, self._published_s = None, False, now
