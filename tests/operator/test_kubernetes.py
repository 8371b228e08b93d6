"""What becomes of the API server's answers; the server is real, what it answers is not."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from headway_operator.elector import LEASE_S, RENEW_S, LeaseRecord, LeaseTaken
from headway_operator.errors import ClusterUnavailable, InvalidSpec, NotLeading
from headway_operator.kubernetes import KubernetesCluster
from headway_operator.model_pool.plan import PoolEvent
from headway_operator.names import MANAGER, PoolKey
from headway_operator.rest import WRITE_TIMEOUT_S
from pool_objects import NOW, a_body, manifests, stored

KEY = PoolKey("serving", "llama")


class Server:
    """Answers in the order that a test lays down; remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.asked: list[tuple[str, str, Any]] = []
        self.port = 0
        self.arrived = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def will(
        self, status: int, body: dict[str, Any] | None = None, message: str = "", **headers: str
    ) -> None:
        content = {"message": message} if body is None else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append(web.json_response(content, status=status, headers=named))

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.asked.append((request.method, request.path_qs, json.loads(text) if text else None))
        self.arrived.set()
        await self.may_answer.wait()
        return self.answers.pop(0)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    [address] = runner.addresses
    server.port = address[1]
    yield server
    await runner.cleanup()


@pytest.fixture
def may_write() -> list[bool]:
    """Its one entry: whether this replica leads."""
    return [True]


@pytest.fixture
async def cluster(
    server: Server, may_write: list[bool], tmp_path: Path
) -> AsyncIterator[KubernetesCluster]:
    path = tmp_path / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "current-context": "c",
                "clusters": [
                    {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.port}"}}
                ],
                "users": [{"name": "u", "user": {"token": "secret"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            }
        )
    )
    cluster = KubernetesCluster(path, "test", lambda: may_write[0])
    yield cluster
    cluster.close()


async def test_what_is_not_there_is_none(cluster: KubernetesCluster, server: Server) -> None:
    server.will(404)
    assert await cluster.pool(KEY) is None


async def test_a_long_list_is_read_to_its_end(cluster: KubernetesCluster, server: Server) -> None:
    names = [{"metadata": {"namespace": "n", "name": name}} for name in "abc"]
    server.will(200, {"metadata": {"continue": "x y"}, "items": names[:2]})
    server.will(200, {"metadata": {}, "items": names[2:]})
    assert [key.name for key in await cluster.keys(None)] == ["a", "b", "c"]
    assert server.asked[1][1].endswith("limit=500&continue=x+y")


async def test_a_busy_server_says_when_to_come_again(
    cluster: KubernetesCluster, server: Server
) -> None:
    server.will(429, message="slow down", Retry_After="7")
    with pytest.raises(ClusterUnavailable) as caught:
        await cluster.pool(KEY)
    assert caught.value.retry_after_s == 7.0


async def test_a_server_that_is_gone_is_unavailable(
    cluster: KubernetesCluster, server: Server, tmp_path: Path
) -> None:
    server.answers.append(web.Response(status=500, text="not JSON"))
    with pytest.raises(ClusterUnavailable, match="500: not JSON"):
        await cluster.pool(KEY)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (422, "spec.template: Required value"),
        (400, "strict decoding error"),
        (500, "failed to create typed patch object (serving/llama; apps/v1): duplicate entries"),
    ],
    ids=["invalid", "undecodable", "no such object at all"],
)
async def test_what_the_server_refuses_for_good_is_the_users(
    cluster: KubernetesCluster, server: Server, status: int, message: str
) -> None:
    server.will(status, message=message)
    with pytest.raises(InvalidSpec) as caught:
        await cluster.apply(manifests(a_body())[0], MANAGER)
    assert message in str(caught.value)


async def test_what_the_server_cannot_do_now_is_tried_again(
    cluster: KubernetesCluster, server: Server
) -> None:
    for status in (403, 409, 500, 503):
        server.will(status, message="not now")
        with pytest.raises(ClusterUnavailable):
            await cluster.apply(manifests(a_body())[0], MANAGER)


async def test_applying_is_by_force_and_in_the_operators_name(
    cluster: KubernetesCluster, server: Server
) -> None:
    wanted = manifests(a_body())[0]
    server.will(200, wanted)
    assert await cluster.apply(wanted, MANAGER) == wanted
    [(method, path, body)] = server.asked
    assert (method, body) == ("PATCH", wanted)
    assert path == (
        "/apis/apps/v1/namespaces/serving/deployments/llama-all"
        "?fieldManager=headway-operator&force=true"
    )


async def test_whoever_does_not_lead_sends_nothing(
    cluster: KubernetesCluster, server: Server, may_write: list[bool]
) -> None:
    may_write[0] = False
    body, live = a_body(), stored(a_body())[0]
    event = PoolEvent("Normal", "PoolCreated", "")
    for write in (
        cluster.apply(live, MANAGER),
        cluster.apply_status(body, {}),
        cluster.delete(live),
        cluster.emit(body, event, NOW),
    ):
        with pytest.raises(NotLeading):
            await write
    assert server.asked == []


async def test_what_is_gone_already_is_fine(cluster: KubernetesCluster, server: Server) -> None:
    for status in (404, 409):
        server.will(status)
        server.will(status)
        await cluster.delete(stored(a_body())[0])
        await cluster.apply_status(a_body(), {})
    assert len(server.asked) == 4


async def test_an_event_that_is_lost_stops_nothing(
    cluster: KubernetesCluster, server: Server
) -> None:
    server.will(403, message="forbidden")
    await cluster.emit(a_body(), PoolEvent("Normal", "PoolCreated", "new"), NOW)
    [(_, path, body)] = server.asked
    assert path == "/apis/events.k8s.io/v1/namespaces/serving/events"
    assert (body["reason"], body["regarding"]["name"]) == ("PoolCreated", "llama")
    assert body["eventTime"] == "2027-01-15T08:00:00.000000Z"


async def test_a_lease_is_made_and_then_replaced_by_version(
    cluster: KubernetesCluster, server: Server
) -> None:
    place = ("serving", "headway-operator")
    server.will(404)
    assert await cluster.lease(*place) is None
    server.will(201, {"metadata": {"resourceVersion": "5"}})
    record = LeaseRecord(holder="a")
    assert await cluster.put_lease(*place, record, duration_s=15, now=NOW) == "5"
    held = LeaseRecord(holder="a", version="5")
    server.will(409, message="changed")
    with pytest.raises(LeaseTaken):
        await cluster.put_lease(*place, held, duration_s=15, now=NOW)
    sent = [(method, (body or {}).get("metadata", {})) for method, _, body in server.asked]
    versions = [(method, metadata.get("resourceVersion")) for method, metadata in sent]
    assert versions == [("GET", None), ("POST", None), ("PUT", "5")]


async def test_the_same_is_not_said_again_and_again(
    cluster: KubernetesCluster, server: Server
) -> None:
    event = PoolEvent("Warning", "EditReverted", "Deployment llama-all: spec.replicas")
    for _ in range(3):
        server.will(201, {})
    for minutes in (0, 1, 9, 11, 12):
        await cluster.emit(a_body(), event, NOW + 60 * minutes)
    await cluster.emit(a_body(), PoolEvent("Normal", "GroupScaled", ""), NOW)
    assert len(server.asked) == 3


def test_a_write_ends_before_another_replica_may_lead() -> None:
    assert RENEW_S + sum(WRITE_TIMEOUT_S) < LEASE_S


async def test_a_write_that_is_on_its_way_is_waited_for(
    cluster: KubernetesCluster, server: Server
) -> None:
    """A task that is cancelled leaves its request behind; the next leader must not meet it."""
    server.may_answer.clear()
    wanted = manifests(a_body())[0]
    server.will(200, wanted)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(cluster.apply(wanted, MANAGER))
        await server.arrived.wait()
        writing.cancel()
        idle = tasks.create_task(cluster.idle())
        await asyncio.sleep(0)
        assert not idle.done()
        server.may_answer.set()  # and then it is over, or this test never ends
