"""When a connection has to be looked at, and whether its peer is still there and taking part."""

from enum import Enum, auto

from headway_router.transport.h2.limits import Limits

_LOOKS_S = 5.0
"""Between two looks, at most; less than the shortest of the usual limits."""


class Verdict(Enum):
    FINE = auto()
    ASK = auto()
    """It has been silent: send it a PING."""
    IDLE = auto()
    """Nobody needs it: ask the peer to leave."""
    GONE = auto()
    """It does not answer, or never said what it is."""
    STALLED = auto()
    """It asks for answers that it does not take."""


class Liveness:
    def __init__(self, limits: Limits, now_s: float) -> None:
        self._limits = limits
        self._started_s = now_s
        self._heard_s = now_s
        self._asked_s: float | None = None
        self._used_s = now_s
        self._stalled_s: float | None = None
        self._data_bytes = 0
        shortest = min(limits.handshake_s, limits.answer_s, limits.keepalive_s, limits.stall_s)
        self._looks_s = min(_LOOKS_S, shortest / 2)
        self.next_look_s = now_s + self._looks_s

    def heard(self, now_s: float) -> None:
        """Any byte shows that the peer is there, whatever it was asked."""
        self._heard_s = now_s
        self._asked_s = None

    def look(
        self, now_s: float, *, has_settings: bool, calls: int, held_bytes: int, data_bytes: int
    ) -> Verdict:
        """``held_bytes`` wait for the peer's windows, ``data_bytes`` were sent in all."""
        self.next_look_s = now_s + self._looks_s
        limits = self._limits
        if calls:
            self._used_s = now_s
        if not held_bytes or data_bytes != self._data_bytes:
            self._stalled_s = None
        elif self._stalled_s is None:
            self._stalled_s = now_s
        self._data_bytes = data_bytes
        if not has_settings:
            late = now_s - self._started_s >= limits.handshake_s
            return Verdict.GONE if late else Verdict.FINE
        if self._asked_s is not None:
            late = now_s - self._asked_s >= limits.answer_s
            return Verdict.GONE if late else Verdict.FINE
        if self._stalled_s is not None and now_s - self._stalled_s >= limits.stall_s:
            return Verdict.STALLED
        if now_s - self._used_s >= limits.idle_s:
            return Verdict.IDLE
        if now_s - self._heard_s >= limits.keepalive_s:
            self._asked_s = now_s
            return Verdict.ASK
        return Verdict.FINE
