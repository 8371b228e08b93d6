"""What metrics and debug pages are shown."""

import pytest

from headway_core.events import Scraped, Unreachable
from headway_core.facts import Endpoint, EndpointState, EngineView
from headway_core.policy import Fleet, Policy
from headway_core.stats import EndpointStats
from headway_core.testing import a_pool, a_request, a_router, an_endpoint


def endpoints(*, now: float) -> dict[str, EndpointStats]:
    """A pool with one endpoint of each state."""
    fleet: list[Endpoint | str] = [
        "ready",
        "dead",
        an_endpoint("drains", state=EndpointState.DRAINING),
    ]
    router = a_router(a_pool(fleet, policy=Policy(content_hash="v1")))
    router.apply(Fleet(pools=(a_pool([*fleet, "new"], policy=Policy(content_hash="v1")),)), 10.0)
    router.observe(Unreachable("dead"), 10.0)
    view = EngineView(waiting=2, running=3, kv_usage=0.5)
    router.observe(Scraped("ready", view), 11.0)
    for _ in range(2):
        router.place(a_request(prompt_tokens=9_000, allowed=["ready"]), 12.0)
    stats = router.stats(now)["default/m"]
    assert (stats.policy_hash, stats.held, stats.leases) == ("v1", 1, 1)
    return {e.endpoint_id: e for e in stats.endpoints}


def test_every_endpoint_shows_its_state() -> None:
    states = {name: e.state for name, e in endpoints(now=12.0).items()}
    assert states == {
        "ready": "ready",
        "dead": "unreachable",
        "drains": "draining",
        "new": "warming",
    }


def test_loads_and_views_are_shown_as_they_are_known() -> None:
    ready = endpoints(now=13.5)["ready"]
    assert (ready.leases, ready.unprefilled, ready.held) == (1, 1, 1)
    assert ready.backlog_s == pytest.approx(1.8), "18,000 tokens, a tenth of a millisecond each"
    assert (ready.view_age_s, ready.waiting, ready.running, ready.kv_usage) == (2.5, 2, 3, 0.5)
    assert ready.correction == 1.0


def test_what_was_never_scraped_is_unknown() -> None:
    new = endpoints(now=13.5)["new"]
    assert (new.view_age_s, new.waiting, new.kv_usage) == (None, None, None)
