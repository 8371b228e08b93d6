"""Who may serve, and the ring over them."""

from random import Random

from headway_core.endpoints import PoolEndpoints
from headway_core.facts import Endpoint, EndpointState, EngineView, Role
from headway_core.testing import an_endpoint


def pool_endpoints(*endpoints: Endpoint | str, now: float = 0.0) -> PoolEndpoints:
    made = PoolEndpoints(Random(0))
    apply(made, *endpoints, now=now)
    return made


def apply(
    endpoints: PoolEndpoints, *wanted: Endpoint | str, now: float
) -> tuple[list[str], list[str]]:
    """Returns the ids of who joined and who is gone."""
    joined, gone = endpoints.apply(
        [an_endpoint(e) if isinstance(e, str) else e for e in wanted], now
    )
    return ([r.endpoint.endpoint_id for r in joined], [r.endpoint.endpoint_id for r in gone])


def drained(name: str) -> Endpoint:
    return an_endpoint(name, state=EndpointState.DRAINING)


def weights(endpoints: PoolEndpoints) -> dict[str, float]:
    ring = endpoints.ring(Role.BOTH)
    return {} if ring is None else dict(ring.weights)


def test_who_joins_and_who_is_gone_is_told() -> None:
    endpoints = pool_endpoints("a", "b")
    assert apply(endpoints, "b", "c", now=1.0) == (["c"], ["a"])
    assert [r.endpoint.endpoint_id for r in endpoints] == ["b", "c"]


def test_one_that_stays_keeps_what_is_known_and_takes_what_is_declared() -> None:
    endpoints = pool_endpoints("a")
    endpoints.scraped("a", EngineView(waiting=3), 2, 0.5)
    apply(endpoints, an_endpoint("a", weight=2.0), now=1.0)
    record = endpoints.records["a"]
    assert (record.endpoint.weight, record.foreign_waiting) == (2.0, 2)
    assert weights(endpoints) == {"a": 2.0}


def test_a_draining_one_is_in_no_ring_and_serves_nobody_new() -> None:
    endpoints = pool_endpoints("a", drained("b"))
    assert weights(endpoints).keys() == endpoints.serving == {"a"}


def test_if_all_are_draining_there_is_no_ring() -> None:
    endpoints = pool_endpoints("a")
    apply(endpoints, drained("a"), now=1.0)
    assert endpoints.ring(Role.BOTH) is None
    assert endpoints.serving == frozenset()


def test_an_unreachable_one_keeps_its_keys_but_does_not_serve() -> None:
    endpoints = pool_endpoints("a", "b")
    assert endpoints.set_reachable("a", False, 1.0)
    assert not endpoints.set_reachable("a", False, 1.0), "known already"
    assert weights(endpoints).keys() == {"a", "b"}
    assert endpoints.serving == {"b"}


def test_a_ring_is_not_rebuilt_when_nothing_changed() -> None:
    endpoints = pool_endpoints("a", "b")
    ring = endpoints.ring(Role.BOTH)
    endpoints.set_reachable("a", False, 1.0)
    apply(endpoints, "b", "a", now=2.0)
    assert endpoints.ring(Role.BOTH) is ring


def test_one_that_joins_others_warms_up() -> None:
    endpoints = pool_endpoints("a", now=100.0)
    assert not endpoints.is_warming("a", 100.0)
    apply(endpoints, "a", an_endpoint("b", weight=2.0), now=200.0)
    assert weights(endpoints) == {"a": 1.0, "b": 0.5}
    assert endpoints.next_warm_step(200.0) == 215.0
    endpoints.refresh(215.0)
    assert weights(endpoints)["b"] == 1.0
    endpoints.refresh(260.0)
    assert weights(endpoints)["b"] == 2.0
    assert endpoints.next_warm_step(260.0) is None


def test_a_pool_that_comes_back_from_zero_has_nothing_to_protect() -> None:
    endpoints = pool_endpoints("a")
    apply(endpoints, now=1.0)
    apply(endpoints, "b", now=2.0)
    assert not endpoints.is_warming("b", 2.0)


def test_a_view_is_fresh_for_so_long() -> None:
    endpoints = pool_endpoints("a")
    assert not endpoints.records["a"].is_fresh(0.0, 5.0)
    assert not endpoints.any_fresh(0.0, 5.0)
    endpoints.scraped("a", EngineView(), 0, 1.0)
    assert endpoints.records["a"].is_fresh(5.9, 5.0)
    assert endpoints.any_fresh(5.9, 5.0)
    assert not endpoints.records["a"].is_fresh(6.0, 5.0)


def test_unused_ones_come_before_used_ones() -> None:
    endpoints = pool_endpoints("a", "b")
    used = endpoints.used("a")
    assert endpoints.records["b"].last_used < used == endpoints.records["a"].last_used
    assert endpoints.used("b") > used
