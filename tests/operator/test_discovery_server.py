"""Real streams between a replica and a router: what is sent, to whom, and who is refused."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import grpc
import pytest

from edge.certificates import Authority
from headway_core.policy import Fleet
from headway_operator.discovery.publisher import Publisher
from headway_operator.discovery.reports import Reports
from headway_operator.discovery.server import Discovery, serving_discovery
from headway_operator.discovery.store import Kind
from headway_proto.v1alpha1 import discovery_pb2 as pb
from headway_router.discovery.channels import Channels
from headway_router.discovery.source import DiscoverySource

POOL = {
    "apiVersion": "headway.dev/v1alpha1",
    "kind": "ModelPool",
    "metadata": {"name": "p", "namespace": "ns", "uid": "u", "generation": 1},
    "spec": {
        "model": {"name": "m"},
        "groups": [
            {"name": "g", "workload": "Static", "endpoints": [{"name": "a", "address": "10.0.0.1"}]}
        ],
    },
}
PATIENCE_S = 30.0


@dataclass
class Replica:
    publisher: Publisher
    reports: Reports
    port: int = 0

    def has_the_pool(self) -> None:
        self.publisher.store.told(Kind.POOL, "ADDED", POOL)
        self.publisher.store.open()


@asynccontextmanager
async def a_replica(tls: Path | None = None, no_data_s: float = 30.0) -> AsyncIterator[Replica]:
    replica = Replica(Publisher("one", lambda: None), Reports(asyncio.get_running_loop().time))
    discovery = Discovery(replica.publisher, replica.reports, lambda: None, no_data_s)
    async with serving_discovery(discovery, "127.0.0.1", 0, tls) as replica.port:
        task = asyncio.get_running_loop().create_task(replica.publisher.run())
        try:
            yield replica
        finally:
            task.cancel()


@dataclass
class Router:
    source: DiscoverySource
    fleets: list[Fleet] = field(default_factory=list)
    cold: list[Fleet] = field(default_factory=list)


@asynccontextmanager
async def a_router(
    port: int, tls: Path | None = None, state: Path | None = None
) -> AsyncIterator[Router]:
    fleets: list[Fleet] = []
    cold: list[Fleet] = []
    source = DiscoverySource(
        Channels(f"127.0.0.1:{port}", tls),
        state,
        on_fleet=fleets.append,
        on_cold_fleet=cold.append,
        answers=lambda _: True,
        traffic=lambda *_: None,
        rng=Random(1),
        operator_first_s=0.0,
        report_s=0.05,
    )
    task = asyncio.get_running_loop().create_task(source.run())
    try:
        yield Router(source, fleets, cold)
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - other tasks tell nobody
            await asyncio.sleep(0.01)


def a_secret(folder: Path, authority: Authority, trusted: Authority) -> Path:
    """A certificate of ``authority``, and trust in ``trusted``."""
    folder.mkdir()
    pair = authority.issue("headway-operator")
    (folder / "tls.crt").write_bytes(pair.certificates)
    (folder / "tls.key").write_bytes(pair.private_key)
    (folder / "ca.crt").write_bytes(trusted.certificate)
    return folder


async def test_a_router_gets_the_state_and_says_what_it_runs() -> None:
    async with a_replica() as replica, a_router(replica.port) as router:
        replica.has_the_pool()
        await until(lambda: router.fleets)
        assert [pool.name for pool in router.fleets[0].pools] == ["ns/p"]
        await until(lambda: any(r.results for r in replica.reports.live().values()))
        [report] = replica.reports.live().values()
        assert report.ack.verdict == pb.Ack.ACK
        assert [(r.uid, r.state) for r in report.results] == [("u", pb.Result.APPLIED)]
        await router.source.leave()
        assert replica.reports.live() == {} or router.source.client.connected


async def test_a_router_that_has_it_already_is_sent_nothing() -> None:
    async with a_replica() as replica:
        replica.has_the_pool()
        await until(lambda: replica.publisher.message)
        assert replica.publisher.message is not None
        held = replica.publisher.message.content_hash
        async with grpc.aio.insecure_channel(f"127.0.0.1:{replica.port}") as channel:
            subscribe = channel.unary_stream(
                "/headway.discovery.v1alpha1.Discovery/Subscribe",
                request_serializer=pb.SubscribeRequest.SerializeToString,
                response_deserializer=pb.Snapshot.FromString,
            )
            call = subscribe(pb.SubscribeRequest(held_hash=held))
            changed = {**POOL, "metadata": {**POOL["metadata"], "generation": 2}}  # type: ignore[dict-item]
            await call.wait_for_connection()
            replica.publisher.store.told(Kind.POOL, "MODIFIED", changed)
            async with asyncio.timeout(PATIENCE_S):
                first = await call.read()
            assert first.sequence == 2 and first.pools[0].generation == 2
            call.cancel()


async def test_a_stream_without_data_ends_so_that_the_router_asks_another() -> None:
    async with (
        a_replica(no_data_s=0.05) as replica,
        grpc.aio.insecure_channel(f"127.0.0.1:{replica.port}") as channel,
    ):
        subscribe = channel.unary_stream(
            "/headway.discovery.v1alpha1.Discovery/Subscribe",
            request_serializer=pb.SubscribeRequest.SerializeToString,
            response_deserializer=pb.Snapshot.FromString,
        )
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            async for _ in subscribe(pb.SubscribeRequest()):
                pass
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_snapshot_that_is_not_whole_is_refused_and_the_held_one_stays() -> None:
    async with a_replica() as replica, a_router(replica.port) as router:
        replica.has_the_pool()
        await until(lambda: router.fleets)
        broken = pb.Snapshot()
        assert replica.publisher.message is not None
        broken.CopyFrom(replica.publisher.message)
        broken.content_hash, broken.sequence = "0" * 64, 9
        router.source.take(broken)
        assert len(router.fleets) == 1 and router.source.problems == ()
        ack = router.source.report().ack
        assert (ack.verdict, ack.reason, ack.sequence) == (pb.Ack.NACK, "HashMismatch", 9)


async def test_a_router_starts_from_disk_without_an_operator(tmp_path: Path) -> None:
    async with a_replica() as replica, a_router(replica.port, state=tmp_path) as router:
        replica.has_the_pool()
        await until(lambda: router.fleets and (tmp_path / "snapshot").exists())
    async with a_router(1, state=tmp_path) as later:
        await until(lambda: later.cold)
        assert later.cold == router.fleets and later.fleets == []
    (tmp_path / "snapshot").write_bytes(b"nonsense")
    async with a_router(1, state=tmp_path) as last:
        await until(lambda: last.source.readings().corrupt_files)
        assert last.cold == []


async def test_both_sides_are_known_by_their_certificates(tmp_path: Path) -> None:
    ours, foreign = Authority(), Authority()
    operator = a_secret(tmp_path / "operator", ours, ours)
    router = a_secret(tmp_path / "router", ours, ours)
    async with a_replica(operator) as replica:
        replica.has_the_pool()
        async with a_router(replica.port, router) as known:
            await until(lambda: known.fleets)
        for name, authority, trusted in (
            ("a false router", foreign, ours),
            ("of a false operator", ours, foreign),
        ):
            secret = a_secret(tmp_path / name, authority, trusted)
            channels = Channels(f"127.0.0.1:{replica.port}", secret)
            await channels.look()
            [way] = channels.ways()
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await way.stub.Report(pb.ReportRequest(router=pb.Router(id=name)), timeout=5)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            await channels.close()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{replica.port}") as channel:
            report = channel.unary_unary(
                "/headway.discovery.v1alpha1.Discovery/Report",
                request_serializer=pb.ReportRequest.SerializeToString,
            )
            with pytest.raises(grpc.aio.AioRpcError):
                await report(pb.ReportRequest(router=pb.Router(id="plain")), timeout=5)
        assert not {"a false router", "of a false operator", "plain"} & set(replica.reports.live())


async def test_new_certificates_are_used_without_a_restart(tmp_path: Path) -> None:
    old, new = Authority(), Authority()
    operator = a_secret(tmp_path / "operator", old, old)
    router = a_secret(tmp_path / "router", old, old)
    async with a_replica(operator) as replica:
        channels = Channels(f"127.0.0.1:{replica.port}", router)
        await channels.look()
        await channels.ways()[0].stub.Report(pb.ReportRequest(router=pb.Router(id="r")), timeout=5)
        for folder in (operator, router):
            pair = new.issue("headway-operator")
            (folder / "tls.crt").write_bytes(pair.certificates)
            (folder / "tls.key").write_bytes(pair.private_key)
            (folder / "ca.crt").write_bytes(new.certificate)
        await channels.look()
        await channels.ways()[0].stub.Report(pb.ReportRequest(router=pb.Router(id="s")), timeout=5)
        assert replica.reports.live().keys() == {"r", "s"}
        await channels.close()
