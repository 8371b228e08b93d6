"""``grpc.health.v1`` as streams of this transport: gateways ask on the port that they use."""

from collections.abc import Callable, Mapping, Sequence

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from headway_router.errors import CallFailed, ProtocolViolation
from headway_router.health import Health, ServingStatus
from headway_router.transport import Deliver
from headway_router.transport.h2.calls import Route
from headway_router.transport.h2.status import Status

_SERVICE = "/grpc.health.v1.Health/"


class HealthCalls:
    """Opens them."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._watches: dict[HealthWatch, None] = {}
        self._is_closed = False

    @property
    def routes(self) -> dict[str, Route]:
        """By path."""
        return {
            f"{_SERVICE}Check": Route(self._check),
            f"{_SERVICE}Watch": Route(self._watch, outlives_request=True),
        }

    def close(self) -> None:
        """End all watches, which have no end of their own; new ones end after one answer."""
        self._is_closed = True
        for watch in list(self._watches):
            watch.end()

    def _check(self, _: Mapping[str, str], __: Deliver) -> "HealthCheck":
        return HealthCheck(self._health)

    def _watch(self, _: Mapping[str, str], deliver: Deliver) -> "HealthWatch":
        watch = HealthWatch(self._health, deliver, self._forget, is_brief=self._is_closed)
        self._watches[watch] = None
        return watch

    def _forget(self, watch: "HealthWatch") -> None:
        self._watches.pop(watch, None)


class HealthCheck:
    """One question, one answer."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self.is_over = False
        self.is_waiting = False

    def receive(self, message: bytes) -> Sequence[bytes]:
        service = _service(message)
        status = self._health.status(service)
        if status is None:
            raise CallFailed(Status.NOT_FOUND, f"no service {service!r}")
        self.is_over = True
        return [_response(status)]

    def close(self) -> None:
        pass


class HealthWatch:
    """One question; the status now and after every change, until the watches are closed."""

    def __init__(
        self,
        health: Health,
        deliver: Deliver,
        closed: Callable[["HealthWatch"], None],
        *,
        is_brief: bool,
    ) -> None:
        self._health = health
        self._deliver = deliver
        self._closed = closed
        self._is_brief = is_brief
        self._service: str | None = None
        self._last: ServingStatus | None = None
        self.is_over = False

    @property
    def is_waiting(self) -> bool:
        return self._service is not None and not self.is_over

    def receive(self, message: bytes) -> Sequence[bytes]:
        if self._service is not None:
            raise ProtocolViolation("a second question")
        self._service = _service(message)
        self._health.watch(self._look)
        news = self._news()
        self.is_over = self._is_brief or self._health.is_closed
        return news

    def end(self) -> None:
        self.is_over = True
        self._deliver([])

    def close(self) -> None:
        self.is_over = True
        self._health.unwatch(self._look)
        self._closed(self)

    def _look(self) -> None:
        news = self._news()
        self.is_over = self._health.is_closed
        self._deliver(news)

    def _news(self) -> Sequence[bytes]:
        status = self._health.status(self._service or "") or ServingStatus.SERVICE_UNKNOWN
        if status is self._last:
            return []
        self._last = status
        return [_response(status)]


def _service(message: bytes) -> str:
    try:
        service: str = health_pb2.HealthCheckRequest.FromString(message).service
    except DecodeError as error:
        raise ProtocolViolation("not a HealthCheckRequest") from error
    return service


def _response(status: ServingStatus) -> bytes:
    data: bytes = health_pb2.HealthCheckResponse(status=status).SerializeToString()
    return data
