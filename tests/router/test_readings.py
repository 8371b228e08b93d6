import asyncio
import time
from random import Random

from headway_core.events import Finished, Scraped, Unreachable
from headway_core.facts import Endpoint, EndpointState, EngineView, InferenceRequest
from headway_core.outcomes import Placed
from headway_core.policy import Fleet, Policy, Pool
from headway_core.router import Router
from headway_router.lag import sample_lag
from headway_router.metric_labels import EndpointCondition
from headway_router.metrics import Metrics
from headway_router.readings import readings

READY, DRAINING = EndpointState.READY, EndpointState.DRAINING
POOL = "ns/p"


def _fleet(*endpoints: tuple[str, EndpointState]) -> Fleet:
    members = tuple(Endpoint(endpoint_id=e, name=e, state=state) for e, state in endpoints)
    policy = Policy(stale_after_s=5.0)
    return Fleet(pools=(Pool(name=POOL, model="m", endpoints=members, policy=policy),))


def test_endpoints_are_counted_by_what_is_known_of_them() -> None:
    core = Router(Random(1))
    core.apply(_fleet(("a", READY), ("b", READY), ("c", DRAINING)), 0.0)
    core.apply(_fleet(("a", READY), ("b", READY), ("c", DRAINING), ("new", READY)), 100.0)
    core.observe(Unreachable("b"), 100.0)
    assert readings(core, 0, None, 100.0).endpoints == {
        (POOL, EndpointCondition.READY): 1,
        (POOL, EndpointCondition.WARMING): 1,
        (POOL, EndpointCondition.UNREACHABLE): 1,
        (POOL, EndpointCondition.DRAINING): 1,
    }


def test_a_condition_without_endpoints_is_zero() -> None:
    core = Router(Random(1))
    core.apply(_fleet(("a", READY)), 0.0)
    assert readings(core, 0, None, 0.0).endpoints[POOL, EndpointCondition.UNREACHABLE] == 0


def test_a_view_is_stale_until_the_first_scrape_and_when_it_is_old() -> None:
    core = Router(Random(1))
    core.apply(_fleet(("a", READY), ("b", READY)), 0.0)
    assert readings(core, 0, None, 0.0).stale_endpoints == {POOL: 2}
    core.observe(Scraped("a", EngineView(running=0)), 10.0)
    assert readings(core, 0, None, 14.9).stale_endpoints == {POOL: 1}
    assert readings(core, 0, None, 15.0).stale_endpoints == {POOL: 2}


def test_leases_are_those_that_are_not_returned() -> None:
    core = Router(Random(1))
    core.apply(_fleet(("a", READY)), 0.0)
    request = InferenceRequest(request_id="r", requested_model="m", prompt_tokens=10)
    assert isinstance(core.place(request, 0.0), Placed)
    assert readings(core, 0, None, 0.0).leases_outstanding == core.leases_at("a") == 1
    core.observe(Finished("r"), 1.0)
    assert readings(core, 0, None, 1.0).leases_outstanding == core.leases_at("a") == 0
    assert core.leases_at("unknown") == 0


async def test_a_loop_that_is_blocked_shows_as_lag() -> None:
    metrics = Metrics()

    def observed(series: str) -> float:
        value = metrics.registry.get_sample_value(f"headway_event_loop_lag_seconds_{series}")
        return value or 0.0

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        sampler = tasks.create_task(sample_lag(metrics.event_loop_lag_s, 0.001))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(time.sleep, 0.02)
        while not observed("count"):  # noqa: ASYNC110  a histogram wakes nobody
            await asyncio.sleep(0.001)
        sampler.cancel()
    assert observed("sum") > 0.01
