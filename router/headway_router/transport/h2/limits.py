"""What one connection may cost, and how much of it is a flood."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of each connection.  A gateway's worker has one, for all of its streams."""

    max_message_bytes: int
    max_streams: int = 40_000
    """At once; a stream lasts as long as its response."""
    max_buffered_bytes: int = 2**28
    """In incomplete messages from the peer, and in ours that its windows hold back."""
    max_header_list_bytes: int = 2**16
    """As SETTINGS_MAX_HEADER_LIST_SIZE counts: names, values and 32 bytes for each field."""
    max_header_block_bytes: int = 2**18
    """As received; a client's long header must not end the connection of all others, this does."""
    varying_header: str = "x-headway-request-id"
    """Metadata with another value in every request, while the rest of the headers stays."""
    max_continuations: int = 64
    """Frames of one header block."""

    control_burst: int = 1_000
    """PING, SETTINGS, PRIORITY, empty and unknown frames at once; gateways send few per second."""
    controls_per_s: float = 100.0
    reset_burst: int = 20_000
    """Streams that are cancelled within ``young_s`` (CVE-2023-44487), or that we must reset.

    A gateway that loses many clients at once resets as many streams."""
    resets_per_s: float = 2_000.0
    young_s: float = 1.0

    handshake_s: float = 10.0
    """From connecting to the client's SETTINGS."""
    idle_s: float = 900.0
    """Without a stream; the peer is asked to leave, as in a drain."""
    keepalive_s: float = 60.0
    """Without a byte from the peer, after which it is asked whether it is still there."""
    answer_s: float = 20.0
    """For that, and for the acknowledgement of a drain."""
    stall_s: float = 60.0
    """In which the peer's windows let nothing pass, or its socket takes nothing."""


class Allowance:
    """A token bucket: ``burst`` at once, ``per_s`` for as long as you like."""

    def __init__(self, burst: int, per_s: float, now_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._left = float(burst)
        self._at_s = now_s

    def spend(self, now_s: float) -> bool:
        """Take one; False: there is none."""
        if self._left < 1:
            refilled = self._left + (now_s - self._at_s) * self._per_s
            self._left = min(float(self._burst), refilled)
            self._at_s = now_s
            if self._left < 1:
                return False
        self._left -= 1
        return True
