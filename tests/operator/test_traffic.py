"""What routers counted becomes what a pool's status says of the last minute."""

from headway_api.status import Traffic
from headway_operator.routing_policy.traffic import WINDOW_S, WRITE_S, TrafficWindow
from headway_proto.v1alpha1 import discovery_pb2 as pb


def a_report(requests: int, *, incarnation: str = "1", queued: int = 0) -> pb.ReportRequest:
    """Prompts of 100 tokens, half of them cached; first tokens in 0.1 s, nine of ten in time."""
    traffic = pb.PoolTraffic(
        uid="u",
        requests=requests,
        prompt_tokens=100 * requests,
        hit_tokens=50 * requests,
        queued_requests=queued,
        with_slo=requests,
        met_slo=requests * 9 // 10,
        ttft_bounds_seconds=[0.1, 1.0],
        ttft_counts=[requests, 0, 0],
    )
    return pb.ReportRequest(router=pb.Router(id="r", incarnation=incarnation), pools=[traffic])


def seen(window: TrafficWindow, now: float) -> Traffic:
    traffic = window.of("u", now)
    assert traffic is not None
    return traffic


def test_two_routers_add_up_and_what_came_before_the_window_does_not_count() -> None:
    window = TrafficWindow()
    window.note({"a": a_report(1000), "b": a_report(0)}, 0.0)
    window.note({"a": a_report(1010, queued=3), "b": a_report(10, queued=1)}, 30.0)
    traffic = seen(window, 30.0)
    assert (traffic.requests, traffic.queued_requests) == (20, 4)
    assert (traffic.cache_hit_percent, traffic.slo_attainment_percent) == (50, 90)
    assert traffic.ttft_ms == 95
    quiet_s = 30.0 + 2 * WINDOW_S
    window.note({"a": a_report(1010), "b": a_report(10)}, quiet_s)
    assert seen(window, quiet_s).requests == 0


def test_a_router_that_was_restarted_counts_from_zero() -> None:
    window = TrafficWindow()
    window.note({"a": a_report(1000)}, 0.0)
    window.note({"a": a_report(30, incarnation="2")}, 10.0)
    assert seen(window, 10.0).requests == 30


def test_a_router_that_has_left_does_not_count_and_nothing_is_unknown() -> None:
    window = TrafficWindow()
    assert window.of("u", 0.0) is None
    window.note({"a": a_report(0, queued=5)}, 0.0)
    window.note({"a": a_report(10, queued=5)}, 1.0)
    assert seen(window, 1.0).queued_requests == 5
    window.note({}, 2.0 + WRITE_S)
    assert seen(window, 2.0 + WRITE_S).queued_requests == 5, "what was written stays"
    assert window.of("another", 2.0) is None


def test_what_was_written_stands_for_a_while() -> None:
    window = TrafficWindow()
    window.note({"a": a_report(0)}, 0.0)
    window.note({"a": a_report(10)}, 1.0)
    before = seen(window, 1.0)
    window.note({"a": a_report(50)}, 2.0)
    assert seen(window, 1.0 + WRITE_S - 0.1) == before
    assert seen(window, 1.0 + WRITE_S).requests == 50
