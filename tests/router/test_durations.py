"""The quick histogram says what Prometheus' own would."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from headway_router.durations import Durations, DurationsCollector

BOUNDS_S = (5e-6, 1e-3, 0.5, 2.0)


@given(st.lists(st.floats(0, 10) | st.sampled_from(BOUNDS_S)))
def test_its_page_is_the_same(durations_s: Sequence[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    quick = Durations(BOUNDS_S)
    ours.register(DurationsCollector("x_seconds", "Help.", "phase", {"parse": quick}))
    slow = Histogram("x_seconds", "Help.", ["phase"], buckets=BOUNDS_S, registry=theirs)
    for duration_s in durations_s:
        quick.observe(duration_s)
        slow.labels("parse").observe(duration_s)
    slow.labels("parse")
    assert _lines(ours) == _lines(theirs)


def _lines(registry: CollectorRegistry) -> list[bytes]:
    return [line for line in generate_latest(registry).splitlines() if b"_created" not in line]
