"""Several router processes behind one Envoy: both streams of a request meet in the same one."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine_contract.undisturbed import undisturbed
from gateway_stack.engines import Engine
from gateway_stack.running import running_stack
from gateway_stack.stack import PATIENCE_S, Stack, eventually, leases_returned, load, open_streams
from headway_cli.demo.programs import RouterProcess

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

REQUESTS = 120


@pytest.mark.parametrize(
    "flags",
    [
        {"routers": 3},
        {"processes": 2, "transport": "grpc-aio"},
        {"processes": 2, "transport": "h2"},
    ],
)
@undisturbed
async def test_every_first_token_finds_its_request_and_every_lease_is_returned(
    flags: dict[str, Any], chat_engines: list[Engine], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("several-routers")
    name = "headway_first_tokens_total"
    async with running_stack(folder, chat_engines, **flags) as stack:

        async def all_reported() -> bool:
            told = [await stack.metric(r, name, outcome="matched") for r in stack.routers]
            return sum(told) == REQUESTS

        async with open_streams(stack, REQUESTS, "several routers"):
            await eventually(all_reported, "every first token is reported")
        matched = [await stack.metric(r, name, outcome="matched") for r in stack.routers]
        placed = await placed_by(stack, stack.routers)
        await leases_returned(stack)
    assert matched == placed
    assert sum(matched) == REQUESTS
    # Hashed at random: fewer than 8 of the expected 40 or 60 come once in 10^11 runs.
    assert min(placed) >= 8


async def test_a_process_that_is_killed_ends_the_others_and_loses_no_request(
    chat_engines: list[Engine], tmp_path: Path
) -> None:
    """Envoy leaves the dead one out, then the draining one, then does without."""
    drain: dict[str, Any] = {"drain_timeout_s": 60, "drain_notice_s": 8}
    async with (
        running_stack(tmp_path, chat_engines, processes=2, **drain) as stack,
        load(stack) as statuses,
    ):
        await eventually(partial(both_have_placed, stack), "both processes are used")
        pids = [page["process"]["pid"] for page in await stack.debug()]
        parent = stack.routers[0].child
        assert parent.process.pid not in pids
        os.kill(pids[0], signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_S):
            assert await parent.process.wait() == 128 + signal.SIGKILL
        before = len(statuses)
        await eventually(more_than(statuses, before + 20), "Envoy goes on without a router")
    log = parent.log.read_text()
    assert {"router.process_died", "router.draining", "router.stopped"} <= set(events(log))
    assert "streams_cut" not in log
    assert set(statuses) == {200}


async def test_several_processes_drain_without_losing_a_request(
    chat_engines: list[Engine], tmp_path: Path
) -> None:
    drain: dict[str, Any] = {"drain_timeout_s": 60, "drain_notice_s": 8, "transport": "h2"}
    async with (
        running_stack(tmp_path, chat_engines, processes=2, **drain) as stack,
        load(stack) as statuses,
    ):
        await eventually(partial(both_have_placed, stack), "both processes are used")
        parent = stack.routers[0].child
        parent.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            assert await parent.process.wait() == 0
    assert events(parent.log.read_text()).count("router.stopped") == 2
    assert set(statuses) == {200}


async def both_have_placed(stack: Stack) -> bool:
    return min(await placed_by(stack, stack.routers)) > 10


def more_than(statuses: Sequence[int], count: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return len(statuses) > count

    return holds


def events(log: str) -> list[str]:
    return [json.loads(line)["event"] for line in log.splitlines() if line.startswith("{")]


async def placed_by(stack: Stack, routers: Sequence[RouterProcess]) -> list[float]:
    return [await stack.metric(r, "headway_requests_total", outcome="placed") for r in routers]
