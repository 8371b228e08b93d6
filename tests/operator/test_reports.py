"""What the operator knows of routers by what they said last."""

import pytest

from headway_operator.discovery.reports import LIVE_S, Draining, Reports
from headway_proto.v1alpha1.discovery_pb2 import DrainProgress, ReportRequest, Router


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reports(clock: Clock) -> Reports:
    return Reports(clock)


def a_report(router: str, *drains: DrainProgress, leaving: bool = False) -> ReportRequest:
    return ReportRequest(router=Router(id=router), drains=drains, leaving=leaving)


def drain(
    leases: int, running: int | None, waiting: int | None, age_s: float | None = 0.1
) -> DrainProgress:
    return DrainProgress(
        endpoint_uid="e", leases=leases, running=running, waiting=waiting, view_age_seconds=age_s
    )


def test_leases_add_up_and_the_engine_is_seen_by_the_freshest_view(reports: Reports) -> None:
    reports.received(a_report("a", drain(2, 7, 1, age_s=3.0)))
    reports.received(a_report("b", drain(3, 5, 0, age_s=0.2)))
    assert reports.drain_progress("e") == Draining(
        routers=2, reporting=2, leases=5, running=5, waiting=0
    )


def test_a_drain_is_over_when_every_live_router_says_so(reports: Reports) -> None:
    assert not reports.drain_progress("e").is_over, "nobody has said anything"
    reports.received(a_report("a", drain(0, 0, 0)))
    assert reports.drain_progress("e").is_over
    reports.received(a_report("b"))
    assert not reports.drain_progress("e").is_over, "b may not know yet that it drains"
    reports.received(a_report("b", drain(1, 0, 0, age_s=1.0)))
    assert not reports.drain_progress("e").is_over
    reports.received(a_report("b", drain(0, None, None, age_s=None)))
    assert reports.drain_progress("e").is_over, "a has a view"


def test_an_engine_that_nobody_could_look_at_is_not_known_to_be_idle(reports: Reports) -> None:
    reports.received(a_report("a", drain(0, None, None, age_s=None)))
    progress = reports.drain_progress("e")
    assert (progress.running, progress.waiting, progress.is_over) == (None, None, False)


def test_a_silent_router_is_not_waited_for(reports: Reports, clock: Clock) -> None:
    reports.received(a_report("a", drain(4, 4, 0)))
    clock.now += LIVE_S - 0.1
    reports.received(a_report("b", drain(0, 0, 0)))
    assert reports.live().keys() == {"a", "b"}
    clock.now += 0.2
    assert reports.live().keys() == {"b"}
    assert reports.drain_progress("e").is_over


def test_a_router_that_leaves_is_not_waited_for(reports: Reports) -> None:
    reports.received(a_report("a", drain(4, 4, 0)))
    reports.received(a_report("a", leaving=True))
    assert reports.live() == {}
    assert reports.drain_progress("e").routers == 0
