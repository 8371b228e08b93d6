"""One arm of the comparison: fresh engines, one policy, the whole workload."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from headway_cli.demo.client import Exchange, Replay, replay
from headway_cli.demo.counters import EngineCounters, read_counters
from headway_cli.demo.fleet import MODEL, NAMESPACE, POOL, FleetSpec
from headway_cli.demo.gateway import Envoy, start_envoy
from headway_cli.demo.lag import LagMeter
from headway_cli.demo.processes import Children
from headway_cli.demo.programs import RouterProcess, start_engines, start_router
from headway_core.facts import EndpointId
from headway_router.envoy import Gateway, GatewayPolicy, UpstreamPool, bootstrap
from headway_router.settings import ENVIRONMENT_PREFIX
from headway_sim.workloads.request import WorkloadRequest

LEASE_TIMEOUT_S = 10.0
"""How long after the last response leases may take to be returned; Envoy ends its streams late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An arm that is ready to serve."""

    policy: GatewayPolicy
    dilation: float

    children: Children
    addresses: dict[str, EndpointId]
    envoy: Envoy
    router: RouterProcess | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one arm did with the workload."""

    policy: GatewayPolicy
    exchanges: Sequence[Exchange]
    leases_outstanding: int
    lag_samples_s: Sequence[float]
    """Wall seconds."""
    engines: dict[str, EngineCounters]
    """By engine name."""


@asynccontextmanager
async def running(
    policy: GatewayPolicy, fleet: FleetSpec, dilation: float
) -> AsyncIterator[Running]:
    """Everything is started in the block and ended with it.

    Raises:
        ChildDied, ChildNotReady, EnvoyMissing.
    """
    with TemporaryDirectory(prefix="headway-demo-") as name:
        folder = Path(name)
        async with Children(folder, _environment()) as children:
            addresses = await start_engines(children, fleet, dilation)
            router = None
            if policy is GatewayPolicy.ROUTED:
                router = await start_router(children, folder / "config", addresses, fleet, dilation)
            gateway = Gateway(
                pools=(
                    UpstreamPool(name=f"{NAMESPACE}/{POOL}", endpoints=tuple(addresses.values())),
                ),
                routers=(router.ext_proc_address,) if router else (),
                policy=policy,
            )
            envoy = await start_envoy(children, folder, bootstrap(gateway))
            yield Running(
                policy=policy,
                dilation=dilation,
                children=children,
                addresses=addresses,
                envoy=envoy,
                router=router,
            )


def _environment() -> dict[str, str]:
    """Without the user's settings of a router of their own."""
    return {k: v for k, v in os.environ.items() if not k.startswith(ENVIRONMENT_PREFIX)}


async def measure(
    arm: Running, requests: Sequence[WorkloadRequest], done: Callable[[Exchange], None]
) -> Outcome:
    """Raises: ChildDied: in an exception group."""
    lag = LagMeter()
    plan = Replay(url=arm.envoy.url, model=MODEL, dilation=arm.dilation)
    async with asyncio.TaskGroup() as group:
        beside = [group.create_task(arm.children.watch()), group.create_task(lag.run())]
        exchanges = await replay(plan, requests, done)
        for task in beside:
            task.cancel()
    async with aiohttp.ClientSession() as session:
        leases = await _leases_left(session, arm.router) if arm.router else 0
        engines = {
            name: await read_counters(session, address) for name, address in arm.addresses.items()
        }
    return Outcome(
        policy=arm.policy,
        exchanges=exchanges,
        leases_outstanding=leases,
        lag_samples_s=lag.samples_s,
        engines=engines,
    )


async def _leases_left(session: aiohttp.ClientSession, router: RouterProcess) -> int:
    """Leases outstanding once they had time to be returned."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + LEASE_TIMEOUT_S
    while True:
        async with session.get(router.debug_url) as response:
            left: int = (await response.json())["leases_outstanding"]
        if left == 0 or clock() > deadline:
            return left
        await asyncio.sleep(0.1)
