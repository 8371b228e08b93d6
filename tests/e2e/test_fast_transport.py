"""A real Envoy in front of routers that use the fast transport."""

import asyncio
import io
import json
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from engine_contract.undisturbed import presume, undisturbed
from gateway_stack.engines import Engine, start_engines
from gateway_stack.running import router_command, running_stack
from gateway_stack.stack import PATIENCE_S, Stack, eventually, leases_returned, load, open_streams
from headway_cli.demo.processes import Child, Children, ready_line
from headway_cli.demo.programs import RouterProcess
from headway_router.envoy import BodyMode

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

STREAMS = 100


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engines(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Engine]]:
    async with Children(tmp_path_factory.mktemp("engines")) as children:
        yield await start_engines(children, "chat", 2)


@pytest.mark.parametrize("mode", BodyMode)
@pytest.mark.parametrize("padding", [0, 500_000])
async def test_requests_of_any_size_are_placed(
    mode: BodyMode, padding: int, engines: list[Engine], tmp_path: Path
) -> None:
    async def status(stack: Stack, prompt: str) -> int:
        body = {"model": "chat", "prompt": prompt, "max_tokens": 1}
        data = io.BytesIO(json.dumps(body).encode() + b" " * padding)
        headers = {"content-type": "application/json"}
        url = f"{stack.envoy.url}/v1/completions"
        async with stack.session.post(url, data=data, headers=headers) as response:
            return response.status

    async with running_stack(tmp_path, engines, body_mode=mode, transport="h2") as stack:
        async with asyncio.TaskGroup() as tasks:
            statuses = [tasks.create_task(status(stack, f"hello {n}")) for n in range(8)]
        await leases_returned(stack)
        placed = await stack.metric(stack.routers[0], "headway_requests_total", outcome="placed")
        failed = await stack.envoy_count("ext_proc", "streams_failed")
    assert [one.result() for one in statuses] == [200] * 8
    assert (placed, failed) == (8, 0)


@undisturbed
async def test_taps_are_matched_and_clients_that_leave_return_their_leases(
    engines: list[Engine], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, name = tmp_path_factory.mktemp("taps"), "headway_first_tokens_total"
    async with running_stack(folder, engines, transport="h2") as stack:
        [router] = stack.routers

        async def all_reported() -> bool:
            return await stack.metric(router, name, outcome="matched") == STREAMS

        async with open_streams(stack, STREAMS, "taps"):
            await eventually(all_reported, "every first token is reported")
            leases = await stack.leases()
            presume(await stack.in_flight() == STREAMS, "a stream has ended")
        assert leases == STREAMS
        await leases_returned(stack)

        async def all_closed() -> bool:
            return await stack.metric(router, "headway_streams_open") == 0

        await eventually(all_closed, "no stream is left")


@pytest.mark.timeout(1800)
@undisturbed
async def test_a_rolling_restart_under_load_loses_no_request(
    engines: list[Engine], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each of two routers in turn is told to stop, drains, and is replaced on its port."""
    folder = tmp_path_factory.mktemp("rolling")
    drain: dict[str, Any] = {"drain_timeout_s": 30, "drain_notice_s": 8}
    (folder / "later").mkdir()
    async with (
        running_stack(folder, engines, routers=2, transport="h2", **drain) as stack,
        Children(folder / "later") as replacements,
        load(stack) as statuses,
    ):
        for number, router in enumerate(stack.routers):
            before = len(statuses)
            await _stopped(stack, router)
            assert len(statuses) > before
            port = int(router.ext_proc_address.rpartition(":")[2])
            flags = {"transport": "h2", "grpc_port": port, **drain}
            command = router_command(config=folder / "config", **flags)
            fresh = await replacements.start(f"router-{number}", command)
            await ready_line(fresh)
            await eventually(partial(_has_placed, stack, fresh), "the new router is used")
        none_healthy = await stack.envoy_count("routers", "upstream_cx_none_healthy")
        failed_open = await stack.envoy_count("ext_proc", "failure_mode_allowed")
        failed = await stack.envoy_count("ext_proc", "streams_failed")
    presume(none_healthy == 0, "both routers were late when Envoy asked for their health")
    assert set(statuses) == {200}
    assert (failed_open, failed) == (0, 0)


async def _stopped(stack: Stack, router: RouterProcess) -> None:
    """Raises: Disturbed: if Envoy had not noticed while the router still took new streams."""
    router.child.process.send_signal(signal.SIGTERM)
    await eventually(partial(stack.is_left_out, router), "Envoy has noticed")
    presume(await _takes_connections(router), "Envoy was late to notice that a router drains")
    async with asyncio.timeout(PATIENCE_S):
        assert await router.child.process.wait() == 0


async def _takes_connections(router: RouterProcess) -> bool:
    host, _, port = router.ext_proc_address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


async def _has_placed(stack: Stack, router: Child) -> bool:
    port = json.loads(await ready_line(router))["metrics_port"]
    async with stack.session.get(f"http://127.0.0.1:{port}/metrics") as response:
        page = await response.text()
    return any(
        line.startswith("headway_requests_total{")
        and "placed" in line
        and not line.endswith(" 0.0")
        for line in page.splitlines()
    )
