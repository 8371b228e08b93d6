"""Three router processes behind one Envoy: both streams of a request meet in the same one."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from engine_contract.undisturbed import undisturbed
from gateway_stack.engines import Engine
from gateway_stack.running import running_stack
from gateway_stack.stack import Stack, eventually, leases_returned, open_streams
from headway_cli.demo.programs import RouterProcess

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

REQUESTS = 120


@undisturbed
async def test_every_first_token_finds_its_request_and_every_lease_is_returned(
    chat_engines: list[Engine], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("several-routers")
    name = "headway_first_tokens_total"
    async with running_stack(folder, chat_engines, routers=3) as stack:

        async def all_reported() -> bool:
            told = [await stack.metric(router, name) for router in stack.routers]
            return sum(told) == REQUESTS

        async with open_streams(stack, REQUESTS, "several routers"):
            await eventually(all_reported, "every first token is reported")
        matched = [await stack.metric(r, name, outcome="matched") for r in stack.routers]
        placed = await placed_by(stack, stack.routers)
        await leases_returned(stack)
    assert matched == placed
    assert sum(matched) == REQUESTS
    # Hashed at random: fewer than 8 of the expected 40 come once in 10^11 runs.
    assert min(placed) >= 8


async def test_a_router_that_dies_leaves_its_share_to_the_others(
    chat_engines: list[Engine], tmp_path: Path
) -> None:
    async with running_stack(tmp_path, chat_engines, routers=3) as stack:
        victim, *others = stack.routers
        victim.child.process.kill()
        await victim.child.process.wait()

        await eventually(partial(stack.is_left_out, victim), "Envoy has noticed the dead router")
        async with asyncio.TaskGroup() as tasks:
            answers = [tasks.create_task(stack.complete(f"{n}")) for n in range(REQUESTS)]
        placed = await placed_by(stack, others)
    assert [answer.result().status for answer in answers] == REQUESTS * [200]
    assert sum(placed) == REQUESTS


async def placed_by(stack: Stack, routers: Sequence[RouterProcess]) -> list[float]:
    return [await stack.metric(r, "headway_requests_total", outcome="placed") for r in routers]
