"""The quick counter says what Prometheus' own would."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest

from headway_router.counts import Counts


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 10**12))))
def test_its_page_is_the_same(events: Sequence[tuple[str, int]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    quick = Counts("x_total", "Help.", ["kind"])
    ours.register(quick)
    slow = Counter("x_total", "Help.", ["kind"], registry=theirs)
    for kind, amount in events:
        quick.labels(kind).add(amount)
        slow.labels(kind).inc(amount)
    assert _lines(ours) == _lines(theirs)


def test_values_must_fit_the_labels() -> None:
    with pytest.raises(ValueError, match=r"x_total has the labels \('pool', 'outcome'\)"):
        Counts("x_total", "Help.", ["pool", "outcome"]).labels("a")


def _lines(registry: CollectorRegistry) -> list[bytes]:
    return [line for line in generate_latest(registry).splitlines() if b"_created" not in line]
