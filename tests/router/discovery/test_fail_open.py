"""Endpoints that vanish all at once are kept while they answer; waits grow and are spread."""

from random import Random

from headway_core.facts import Endpoint
from headway_core.policy import Fleet, Pool
from headway_router.discovery.backoff import Backoff
from headway_router.discovery.fail_open import KEPT_S, FailOpen


def a_fleet(*ids: str) -> Fleet:
    endpoints = tuple(Endpoint(endpoint_id=i, name=i) for i in ids)
    return Fleet(pools=(Pool(name="ns/p", model="m", endpoints=endpoints),))


def test_those_that_still_answer_are_kept_for_half_a_minute() -> None:
    rule = FailOpen({"a"}.__contains__)
    assert rule.fleet(a_fleet("a", "b"), 0.0) == a_fleet("a", "b")
    assert rule.due_s() is None
    assert rule.fleet(a_fleet(), 1.0) == a_fleet("a")
    assert rule.kept == {"ns/p": 1} and rule.due_s() == 1.0 + KEPT_S
    assert rule.fleet(a_fleet(), KEPT_S) == a_fleet("a")
    assert rule.fleet(a_fleet(), 1.0 + KEPT_S) == a_fleet()
    assert rule.kept == {} and rule.due_s() is None
    assert rule.fleet(a_fleet(), 99.0) == a_fleet()


def test_one_that_is_left_or_comes_back_ends_it() -> None:
    rule = FailOpen(lambda _: True)
    rule.fleet(a_fleet("a", "b"), 0.0)
    assert rule.fleet(a_fleet("b"), 1.0) == a_fleet("b")
    assert rule.fleet(a_fleet(), 2.0) == a_fleet("b")
    assert rule.fleet(a_fleet("c"), 3.0) == a_fleet("c")
    assert rule.due_s() is None


def test_dead_ones_and_vanished_pools_are_not_kept() -> None:
    rule = FailOpen(lambda _: False)
    rule.fleet(a_fleet("a"), 0.0)
    assert rule.fleet(a_fleet(), 1.0) == a_fleet()
    rule = FailOpen(lambda _: True)
    rule.fleet(a_fleet("a"), 0.0)
    assert rule.fleet(Fleet(), 1.0) == Fleet()


def test_waits_double_up_to_half_a_minute_with_full_jitter() -> None:
    bounds = [0.5, 1, 2, 4, 8, 16, 30, 30]
    waits = []
    for seed in range(200):
        backoff = Backoff(Random(seed))
        waits.append([backoff.next_s() for _ in bounds])
        backoff.worked()
        assert backoff.next_s() <= 0.5
    for bound, column in zip(bounds, zip(*waits, strict=True), strict=True):
        assert max(column) <= bound and max(column) > 0.9 * bound and min(column) < 0.1 * bound
