"""No router at all: what clients notice of it.  `faults/` has what dies under load."""

from pathlib import Path

import pytest

from gateway_stack.engines import Engine
from gateway_stack.running import running_stack
from gateway_stack.stack import (
    Stack,
)

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def test_without_its_router_a_single_pool_is_served_all_the_same(
    chat_engines: list[Engine], tmp_path: Path
) -> None:
    async with running_stack(tmp_path, chat_engines) as stack:
        await kill_routers(stack)
        before = await stack.requests_by_engine()
        spoofed = {"x-gateway-destination-endpoint": chat_engines[0].address}
        answers = [await stack.complete(f"{n}", headers=spoofed) for n in range(6)]
        after = await stack.requests_by_engine()
    assert [answer.status for answer in answers] == 6 * [200]
    assert [after[name] - before[name] for name in before] == [2, 2, 2]


async def test_without_its_router_several_pools_are_refused_rather_than_mixed_up(
    chat_engines: list[Engine], code_engines: list[Engine], tmp_path: Path
) -> None:
    async with running_stack(tmp_path, [*chat_engines, *code_engines]) as stack:
        assert (await stack.complete("hi", model="code")).status == 200
        await kill_routers(stack)
        spoofed = {"x-headway-pool": "default/code"}
        answers = [
            await stack.complete("hi", model="code"),
            await stack.complete("hi", model="code", headers=spoofed),
        ]
    for answer in answers:
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["error"]["code"] == 503


async def kill_routers(stack: Stack) -> None:
    for router in stack.routers:
        router.child.process.kill()
        await router.child.process.wait()
