"""Where the process listens, and what it says of a port that it cannot have."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from headway_router.errors import CannotListen


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the process listens, free ports filled in."""

    grpc_port: int
    grpc_health_port: int
    metrics_port: int
    debug_port: int


@contextmanager
def claiming(flag: str, host: str, port: int) -> Iterator[None]:
    """grpc raises RuntimeError, the event loop OSError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise CannotListen(f"{flag}: cannot listen on {host}:{port}: {error}") from error
