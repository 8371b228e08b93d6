"""What the labels of our series may say, where no other module closes the set."""

from enum import StrEnum


class RequestOutcome(StrEnum):
    """How a request was settled; each request counts once."""

    PLACED = "placed"
    SHED = "shed"
    REJECTED = "rejected"
    """Bad input, refused at the edge."""
    CANCELLED = "cancelled"
    """The client left before there was an answer."""
    ANSWERED = "answered"
    """By the router itself: ``GET /v1/models``."""


class Phase(StrEnum):
    """Where the router's own time goes, per request."""

    PARSE = "parse"
    HASH = "hash"
    PLACE = "place"
    ENCODE = "encode"


class FirstTokenOutcome(StrEnum):
    MATCHED = "matched"
    UNKNOWN = "unknown"
    """No such request here: it had ended, or its other stream reached another router."""
    IGNORED = "ignored"
    """The request has no placement that a first token could say anything about."""


class SampleOutcome(StrEnum):
    """What came of a response that was read to the end."""

    USAGE = "usage"
    NO_USAGE = "no-usage"
    """The client did not ask for it."""
    CUT = "cut"
    """The client left, or the connection broke, before the last of it."""
    ERROR = "error"
    """The engine failed in the middle of it."""
    UNREADABLE = "unreadable"
    """Compressed, too long, or nothing that is known."""


class TokenSource(StrEnum):
    PREDICTED = "predicted"
    REPORTED = "reported"


class ScrapeOutcome(StrEnum):
    OK = "ok"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    ERROR = "error"
    """Another status than 200, a broken connection, or a text without one known metric."""


class ReloadOutcome(StrEnum):
    APPLIED = "applied"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"
    """It has problems, so the last good one stays."""
    UNSETTLED = "unsettled"
    """It changed while it was read; the next read decides."""


class EndpointCondition(StrEnum):
    """As the core's ``EndpointStats.state``."""

    READY = "ready"
    WARMING = "warming"
    """It joined a short while ago and gets less than its share."""
    DRAINING = "draining"
    UNREACHABLE = "unreachable"


class LogLineOutcome(StrEnum):
    WRITTEN = "written"
    LOST = "lost"
    """The file could not be written, or not as fast as lines came."""


class SpanOutcome(StrEnum):
    SENT = "sent"
    LOST = "lost"
    """The collector did not take it, or not as fast as spans came."""


class ResourceKind(StrEnum):
    MODEL_POOL = "ModelPool"
    ROUTING_POLICY = "RoutingPolicy"


class SnapshotOrigin(StrEnum):
    """Where the snapshot in force has come from."""

    NONE = "none"
    STREAM = "stream"
    DISK = "disk"
