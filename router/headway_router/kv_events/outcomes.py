"""The closed sets of values that describe the reading of KV events, in metrics and logs."""

from enum import StrEnum


class CacheKnowledge(StrEnum):
    """What the router knows of an engine's cache, in a pool whose policy asks for exact ones."""

    EXACT = "exact"
    """Its events join our requests."""
    UNPROVEN = "unproven"
    """Subscribed; nothing has been joined yet.  The mirror of what was sent there counts."""
    UNJOINED = "unjoined"
    """Most of its events do not join our requests, so the mirror counts."""
    UNAVAILABLE = "unavailable"
    """No events to be had from it, so the mirror counts."""


class StoredOutcome(StrEnum):
    """What a stored block was joined to."""

    JOINED = "joined"
    FOREIGN = "foreign"
    """Of a request that this router did not send."""
    NO_SESSION = "no-session"
    """This engine's events never name a session: an old version."""
    UNKNOWN_PARENT = "unknown-parent"
    """What it follows was stored before this router listened, or was lost."""


class BatchOutcome(StrEnum):
    LIVE = "live"
    REPLAYED = "replayed"
    REPEATED = "repeated"
    """Here already, so ignored."""
    MALFORMED = "malformed"


class ResetReason(StrEnum):
    """Why everything that an engine had told was forgotten."""

    RESTARTED = "restarted"
    GAP = "gap"
    """Batches are missing that could not be replayed."""
    MALFORMED = "malformed"
    OVERFLOW = "overflow"
    """It named more blocks than any engine holds."""
