"""A real Envoy in front of routers that use the fast transport."""

import asyncio
import io
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway_stack.engines import Engine, start_engines
from gateway_stack.stack import (
    Stack,
    eventually,
    leases_returned,
    open_streams,
    router_command,
    running_stack,
)
from headway_cli.demo.processes import Child, Children, ready_line
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
        failed = await _envoy_count(stack, "streams_failed")
    assert [one.result() for one in statuses] == [200] * 8
    assert (placed, failed) == (8, 0)


async def test_taps_are_matched_and_clients_that_leave_return_their_leases(
    engines: list[Engine], tmp_path: Path
) -> None:
    name = "headway_first_tokens_total"
    async with running_stack(tmp_path, engines, transport="h2") as stack:
        [router] = stack.routers

        async def all_reported() -> bool:
            return await stack.metric(router, name, outcome="matched") == STREAMS

        async with open_streams(stack, STREAMS, "taps"):
            await eventually(all_reported, "every first token is reported")
            assert await stack.leases() == STREAMS
        await leases_returned(stack)
        assert await stack.metric(router, "headway_streams_open") == 0


async def test_a_rolling_restart_under_load_loses_no_request(
    engines: list[Engine], tmp_path: Path
) -> None:
    """Each of two routers in turn is told to stop, drains, and is replaced on its port."""
    drain: dict[str, Any] = {"drain_timeout_s": 30, "drain_notice_s": 6}
    (tmp_path / "later").mkdir()
    async with (
        running_stack(tmp_path, engines, routers=2, transport="h2", **drain) as stack,
        Children(tmp_path / "later") as replacements,
        _load(stack) as statuses,
    ):
        for number, router in enumerate(stack.routers):
            before = len(statuses)
            router.child.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(60):
                assert await router.child.process.wait() == 0
            assert len(statuses) > before
            port = int(router.ext_proc_address.rpartition(":")[2])
            flags = {"transport": "h2", "grpc_port": port, **drain}
            command = router_command(tmp_path / "config", **flags)
            fresh = await replacements.start(f"router-{number}", command)
            await ready_line(fresh)
            await eventually(partial(_has_placed, stack, fresh), "the new router is used")
        failed_open = await _envoy_count(stack, "failure_mode_allowed")
        failed = await _envoy_count(stack, "streams_failed")
    assert set(statuses) == {200}
    assert (failed_open, failed) == (0, 0)


@asynccontextmanager
async def _load(stack: Stack) -> AsyncIterator[list[int]]:
    """Requests one after the other from a few clients; the statuses so far."""
    statuses: list[int] = []
    stopped = asyncio.Event()

    async def client(number: int) -> None:
        count = 0
        while not stopped.is_set():
            count += 1
            statuses.append((await stack.complete(f"{number} {count}")).status)

    async with asyncio.TaskGroup() as tasks:
        for number in range(4):
            tasks.create_task(client(number))
        try:
            yield statuses
        finally:
            stopped.set()


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


async def _envoy_count(stack: Stack, counter: str) -> int:
    """The sum over Envoy's two ext_proc filters."""
    url = f"{stack.envoy.admin_url}/stats?filter=ext_proc"
    async with stack.session.get(url) as response:
        lines = (await response.text()).splitlines()
    found = [line.split(": ") for line in lines if f".{counter}:" in line]
    assert found
    return sum(int(value) for _, value in found)
