"""What every live router said last."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from headway_proto.v1alpha1.discovery_pb2 import DrainProgress, ReportRequest

LIVE_S = 15.0
"""A router that has said nothing for so long is not waited for; it reports every 5 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draining:
    """What is left at one endpoint, over all live routers."""

    routers: int
    """Live ones."""
    reporting: int
    """Those that say of it that it drains: the others may still send requests there."""
    leases: int
    running: int | None
    """On the engine, by the freshest view that a router has; None: nobody has one."""
    waiting: int | None

    @property
    def is_over(self) -> bool:
        """Nobody sends there any more, and nothing runs."""
        is_known = 0 < self.routers == self.reporting
        return is_known and self.leases == self.running == self.waiting == 0


@dataclass(slots=True)
class _Router:
    report: ReportRequest
    heard_s: float
    drains: Mapping[str, DrainProgress] = field(init=False)

    def __post_init__(self) -> None:
        self.drains = {drain.endpoint_uid: drain for drain in self.report.drains}


class Reports:
    """``clock`` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._routers: dict[str, _Router] = {}

    def received(self, report: ReportRequest) -> None:
        """Replaces what the router said before."""
        if report.leaving:
            self._routers.pop(report.router.id, None)
        else:
            self._routers[report.router.id] = _Router(report, self._clock())

    def live(self) -> dict[str, ReportRequest]:
        """The last report of every live router, by router id."""
        return {router.report.router.id: router.report for router in self._live()}

    def drain_progress(self, endpoint_uid: str) -> Draining:
        routers = list(self._live())
        drains = [drain for router in routers if (drain := router.drains.get(endpoint_uid))]
        views = [drain for drain in drains if drain.HasField("view_age_seconds")]
        freshest = min(views, key=lambda drain: drain.view_age_seconds, default=None)
        return Draining(
            routers=len(routers),
            reporting=len(drains),
            leases=sum(drain.leases for drain in drains),
            running=_known(freshest, "running"),
            waiting=_known(freshest, "waiting"),
        )

    def _live(self) -> Iterator[_Router]:
        now = self._clock()
        self._routers = {
            router_id: router
            for router_id, router in self._routers.items()
            if now - router.heard_s < LIVE_S
        }
        yield from self._routers.values()


def _known(drain: DrainProgress | None, field_name: str) -> int | None:
    if drain is None or not drain.HasField(field_name):
        return None
    return int(getattr(drain, field_name))
