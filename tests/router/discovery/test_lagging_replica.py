"""A replica of the operator that lags behind is left for another, after a while."""

import asyncio
from copy import deepcopy
from random import Random
from typing import Any

from headway_core.policy import Fleet
from headway_operator.discovery.publisher import Publisher
from headway_operator.discovery.store import Kind
from headway_proto.v1alpha1 import discovery_pb2 as pb
from headway_router.discovery.channels import Channels
from headway_router.discovery.source import STALE_S, DiscoverySource

POOL: dict[str, Any] = {
    "apiVersion": "headway.dev/v1alpha1",
    "kind": "ModelPool",
    "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
    "spec": {
        "model": {"name": "m"},
        "groups": [
            {"name": "g", "workload": "Static", "endpoints": [{"name": "a", "address": "10.0.0.1"}]}
        ],
    },
}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def said(server_id: str, generation: int, model: str) -> pb.Snapshot:
    publisher = Publisher(server_id, lambda: None)
    pool = deepcopy(POOL)
    pool["metadata"]["generation"] = generation
    pool["spec"]["model"]["name"] = model
    publisher.store.told(Kind.POOL, "ADDED", pool)
    publisher.store.open()
    publisher._publish()
    assert publisher.message is not None
    return publisher.message


async def test_it_is_left_when_it_has_not_caught_up() -> None:
    fleets: list[Fleet] = []
    clock = Clock()
    source = DiscoverySource(
        Channels("127.0.0.1:1", None),
        None,
        on_fleet=fleets.append,
        on_cold_fleet=fleets.append,
        answers=lambda _: True,
        traffic=lambda *_: None,
        rng=Random(1),
        clock=clock,
    )
    left = asyncio.Event()
    source.client.leave_replica = left.set  # type: ignore[method-assign]
    looking = asyncio.get_running_loop().create_task(source._let_go())
    try:
        source.take(said("one", 2, "new"))
        source.take(said("two", 1, "old"))
        assert [pool.model for pool in fleets[-1].pools] == ["new"]
        ack = source.report().ack
        assert (ack.verdict, ack.reason) == (pb.Ack.ACK, "StaleServer")
        clock.now += STALE_S - 1
        await asyncio.sleep(2.5)
        assert not left.is_set()
        clock.now += 2
        async with asyncio.timeout(30):
            await left.wait()
    finally:
        looking.cancel()
