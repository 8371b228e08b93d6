"""Every error of the operator.

OperatorError
├── InvalidSpec           a user must act; tried again when the spec changes
├── ClusterUnavailable    the API server cannot be reached, or is busy: tried again soon
├── NotLeading            this replica must not write any more
└── InvalidSettings       the command line; or the cluster lacks what the operator needs
"""


class OperatorError(Exception):
    """What the operator raises on purpose."""


class InvalidSpec(OperatorError):
    """``field: problem``; the field as users write it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)


class ClusterUnavailable(OperatorError):
    def __init__(self, what: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(what)
        self.retry_after_s = retry_after_s
        """As the API server asked for.  None: it did not say."""


class NotLeading(OperatorError):
    """The lease may be another's by now."""


class InvalidSettings(OperatorError):
    """In one line, for the terminal."""
