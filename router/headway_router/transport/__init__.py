"""What carries streams to and from the gateway, and what a stream is to it.

A transport knows gRPC and nothing of ext_proc: it moves messages as bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

SERVICE_NAME = "envoy.service.ext_proc.v3.ExternalProcessor"
METHOD_NAME = "Process"

Deliver = Callable[[Sequence[bytes]], None]


class Stream(Protocol):
    """One gRPC stream.  Calls do not wait for anything."""

    @property
    def is_over(self) -> bool:
        """The server ends the stream once what it has given so far is sent."""
        ...

    @property
    def is_waiting(self) -> bool:
        """Messages may come through ``Deliver``, whether or not the gateway sends another."""
        ...

    def receive(self, message: bytes) -> Sequence[bytes]:
        """Messages to send in answer.

        Raises: ProtocolViolation: the stream is then to be aborted with INVALID_ARGUMENT.
        """
        ...

    def close(self) -> None:
        """However it has ended.  Twice is harmless; nothing is delivered afterwards."""
        ...


class Service(Protocol):
    def open(self, metadata: Mapping[str, str], deliver: Deliver) -> Stream:
        """``metadata`` is the gRPC request's; ``deliver`` sends messages later."""
        ...


class Transport(Protocol):
    @property
    def port(self) -> int:
        """Known once started."""
        ...

    async def start(self) -> None: ...

    async def stop(self, grace_s: float) -> None:
        """Refuse new streams at once; those that are open have ``grace_s`` to end."""
        ...
