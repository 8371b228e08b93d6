"""Every error the core raises on purpose.

    RoutingError
    └── DuplicateRequest    a request with this id is outstanding already

A request that cannot be served is no error: it is an outcome (``Shed``).
"""


class RoutingError(Exception):
    """The caller broke the core's contract."""


class DuplicateRequest(RoutingError):
    """``place`` was called with the id of a request that has not ended yet."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"request {request_id!r} is outstanding already")
        self.request_id = request_id
