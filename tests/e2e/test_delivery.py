"""From an object on a real API server to what real routers do, with and without an operator."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
import pytest_asyncio

from control_plane.api import Api, until
from control_plane.operator import OperatorProcess
from control_plane.plane import ControlPlane
from engine_contract.process import free_port
from gateway_stack.engines import Engine
from gateway_stack.running import router_command, running_stack, static_group
from gateway_stack.stack import Stack, eventually, load
from headway_cli.demo.processes import Children
from headway_cli.demo.programs import ready_routers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.asyncio(loop_scope="session"),
]

NAMESPACE = "delivery"
Found = TypeVar("Found")


@dataclass(slots=True)
class Delivery:
    """A control plane, an operator that watches one namespace, and a stack of two routers."""

    plane: ControlPlane
    folder: Path
    operator: OperatorProcess
    port: int
    stack: Stack
    state: Path
    starts: int = 1

    @property
    def api(self) -> Api:
        return self.plane.admin

    def start_operator(self) -> None:
        self.starts += 1
        folder = self.folder / f"operator-{self.starts}"
        self.operator = _operator(self.plane, folder, self.port)

    def create(self, kind: str, name: str, **spec: Any) -> None:
        self.api.create(_body(kind, name, spec))

    def change(self, kind: str, name: str, **spec: Any) -> None:
        self.api.merge(kind, NAMESPACE, name, {"spec": spec})

    def conditions(self, kind: str, name: str) -> dict[str, dict[str, Any]]:
        """By type, of the latest generation; a policy's are its first ancestor's."""
        body = self.api.get(kind, NAMESPACE, name)
        status = body.get("status", {})
        if kind == "RoutingPolicy":
            status = next(iter(status.get("ancestors", ())), {})
        found = {c["type"]: c for c in status.get("conditions", ())}
        generation = body["metadata"]["generation"]
        return {t: c for t, c in found.items() if c["observedGeneration"] == generation}

    async def condition(
        self, kind: str, name: str, type_: str, status: str, reason: str
    ) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.conditions(kind, name).get(type_, {})
            is_so = (found.get("status"), found.get("reason")) == (status, reason)
            return found if is_so else None

        return await _until(look, f"{kind} {name} is {type_}={status}/{reason}")

    async def hashes(self, pool: str) -> list[str]:
        """Of the policy that each router runs for the pool."""
        pages = await self.stack.debug()
        return [p["pools"][f"{NAMESPACE}/{pool}"]["policy"]["content_hash"] for p in pages]

    def versions(self) -> dict[str, str]:
        return {
            f"{kind} {body['metadata']['name']}": body["metadata"]["resourceVersion"]
            for kind in ("ModelPool", "RoutingPolicy", "Event")
            for body in self.api.list(kind, NAMESPACE)
        }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def delivery(
    control_plane: ControlPlane,
    chat_engines: list[Engine],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Delivery]:
    folder, port = tmp_path_factory.mktemp("delivery"), free_port()
    control_plane.admin.create_namespace(NAMESPACE)
    state = folder / "state"
    state.mkdir()
    operator = _operator(control_plane, folder / "operator-1", port)
    group = static_group([engine.address for engine in chat_engines])
    control_plane.admin.create(
        _body("ModelPool", "chat", {"model": {"name": "chat"}, "groups": [group]})
    )
    control_plane.admin.create(_body("RoutingPolicy", "chat", {"targetRefs": [{"name": "chat"}]}))
    try:
        async with running_stack(
            folder,
            chat_engines,
            routers=2,
            operator=f"127.0.0.1:{port}",
            namespace=NAMESPACE,
            state_dir=state,
        ) as stack:
            running = Delivery(control_plane, folder, operator, port, stack, state)
            yield running
            operator = running.operator
    finally:
        operator.stop()


def _operator(plane: ControlPlane, folder: Path, port: int) -> OperatorProcess:
    arguments = ["--namespace", NAMESPACE, "--lease-namespace", NAMESPACE]
    return OperatorProcess(
        plane, folder, *arguments, "--resync-seconds", "86400", discovery_port=port
    )


def _body(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    }


async def _until(look: Callable[[], Found | None], what: str) -> Found:
    return await asyncio.to_thread(until, look, what)


async def test_a_pool_and_a_policy_reach_two_routers(delivery: Delivery) -> None:
    await delivery.condition("RoutingPolicy", "chat", "Accepted", "True", "Accepted")
    await delivery.condition("RoutingPolicy", "chat", "Programmed", "True", "Programmed")
    await delivery.condition("ModelPool", "chat", "Programmed", "True", "Programmed")
    status = delivery.api.get("RoutingPolicy", NAMESPACE, "chat")["status"]
    assert (status["accepted"], status["programmed"]) == ("1/1", "2/2")
    assert await delivery.hashes("chat") == [status["effectiveHash"]] * 2
    assert (await delivery.stack.complete("hello")).status == 200
    reasons = {e["reason"] for e in delivery.api.list("Event", NAMESPACE)}
    assert {"PolicyAccepted", "PolicyProgrammed"} <= reasons


async def test_an_edited_policy_is_switched_to_under_load(delivery: Delivery) -> None:
    [before, _] = await delivery.hashes("chat")
    async with load(delivery.stack) as statuses:
        await asyncio.to_thread(
            delivery.change, "RoutingPolicy", "chat", strategy={"candidates": "All"}
        )

        async def both_switch() -> bool:
            hashes = await delivery.hashes("chat")
            return len(set(hashes)) == 1 and hashes[0] != before

        await eventually(both_switch, "both routers run the new policy")
        seen = len(statuses)

        async def went_on() -> bool:
            return len(statuses) > seen + 20

        await eventually(went_on, "requests go on")
    assert set(statuses) == {200}
    await delivery.condition("RoutingPolicy", "chat", "Programmed", "True", "Programmed")


async def test_of_two_policies_the_older_has_the_pool(delivery: Delivery) -> None:
    await _until(lambda: delivery.conditions("RoutingPolicy", "chat") or None, "the older is there")
    delivery.create("RoutingPolicy", "younger", targetRefs=[{"name": "chat"}, {"name": "none"}])
    accepted = await delivery.condition(
        "RoutingPolicy", "younger", "Accepted", "False", "Conflicted"
    )
    assert accepted["message"] == f"{NAMESPACE}/chat has an older policy, {NAMESPACE}/chat"
    affected = await delivery.condition("ModelPool", "chat", "PolicyAffected", "True", "Conflicted")
    assert affected["message"] == "by chat; not by younger"
    ancestors = delivery.api.get("RoutingPolicy", NAMESPACE, "younger")["status"]["ancestors"]
    reasons = {a["ancestorRef"]["name"]: a["conditions"][0]["reason"] for a in ancestors}
    assert reasons == {"chat": "Conflicted", "none": "TargetNotFound"}
    events = {e["reason"] for e in delivery.api.list("Event", NAMESPACE)}
    assert {"PolicyConflict", "TargetNotFound"} <= events
    delivery.api.delete("RoutingPolicy", NAMESPACE, "younger")
    await delivery.condition("ModelPool", "chat", "PolicyAffected", "True", "Affected")


async def test_what_only_the_compiler_refuses_keeps_the_last_good_one(delivery: Delivery) -> None:
    group = static_group(["127.0.0.1:1"])
    delivery.create("ModelPool", "other", model={"name": "other"}, groups=[group])
    await delivery.condition("ModelPool", "other", "Programmed", "True", "Programmed")
    delivery.change("ModelPool", "other", model={"name": "other", "aliases": ["chat"]})
    refused = await delivery.condition("ModelPool", "other", "Programmed", "False", "Invalid")
    assert refused["message"].startswith("spec.model.aliases[0]: 'chat' is a model")
    assert refused["message"].endswith("; generation 1 stays in force")
    for page in await delivery.stack.debug():
        assert page["pools"][f"{NAMESPACE}/other"]["models"] == ["other"]
    delivery.change("ModelPool", "other", model={"name": "other", "aliases": ["another"]})
    await delivery.condition("ModelPool", "other", "Programmed", "True", "Programmed")


async def test_what_routers_saw_is_in_the_status_of_the_pool(delivery: Delivery) -> None:
    for number in range(5):
        # A short answer is over before its first token can be told.
        async with delivery.stack.streaming(f"request {number}", max_tokens=50) as response:
            assert response.status == 200
            await response.read()

    def traffic() -> dict[str, Any] | None:
        status = delivery.api.get("ModelPool", NAMESPACE, "chat")["status"]
        found: dict[str, Any] = status.get("traffic", {})
        return found if "ttftMs" in found else None

    found = await _until(traffic, "the pool has seen requests")
    assert found["requests"] > 0
    assert 0 <= found["cacheHitPercent"] <= 100


async def test_without_an_operator_requests_flow_and_routers_start(delivery: Delivery) -> None:
    stack, state = delivery.stack, delivery.state
    await delivery.condition("RoutingPolicy", "chat", "Programmed", "True", "Programmed")
    async with load(stack) as statuses:
        delivery.operator.process.kill()
        seen = len(statuses)

        async def went_on() -> bool:
            return len(statuses) > seen + 50

        await eventually(went_on, "requests go on")
        flags: dict[str, Any] = {"operator": f"127.0.0.1:{delivery.port}", "state_dir": state}
        async with Children(delivery.folder) as children, aiohttp.ClientSession() as session:
            child = await children.start("router-later", router_command(**flags))
            [router] = await ready_routers(child, 1)

            async def started_from_disk() -> bool:
                async with session.get(router.debug_url) as response:
                    page = await response.json()
                configuration = page["configuration"]
                return bool(configuration["source"] == "disk" and page["process"]["is_ready"])

            await eventually(started_from_disk, "a router starts from disk")
    assert set(statuses) == {200}


async def test_an_operator_that_returns_changes_nothing(delivery: Delivery) -> None:
    def at_rest() -> dict[str, str] | None:
        before = delivery.versions()
        operator = delivery.operator
        done = len(operator.logged("status.looked"))
        operator.wait_for("status.looked", times=done + 2)
        return before if delivery.versions() == before else None

    [before, _] = await delivery.hashes("chat")
    await asyncio.to_thread(delivery.start_operator)
    await asyncio.to_thread(delivery.operator.wait_for, "router.subscribed", times=2)
    await delivery.condition("RoutingPolicy", "chat", "Programmed", "True", "Programmed")
    await _until(at_rest, "nothing is written any more")
    assert await delivery.hashes("chat") == [before] * 2
    delivery.change("RoutingPolicy", "chat", strategy={"candidates": "Pair"})
    await delivery.condition("RoutingPolicy", "chat", "Programmed", "True", "Programmed")
    assert len(set(await delivery.hashes("chat"))) == 1
