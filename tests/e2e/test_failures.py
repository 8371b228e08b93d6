"""Engines and routers that die: what clients notice of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from engine_contract.undisturbed import presume, undisturbed
from gateway_stack.engines import Engine, start_engines
from gateway_stack.running import running_stack
from gateway_stack.stack import (
    PATIENCE_S,
    Answer,
    Stack,
    engines_are_idle,
    eventually,
    leases_returned,
)
from headway_cli.demo.processes import Children

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def mortal(tmp_path: Path) -> AsyncIterator[Stack]:
    """A stack with engines of its own."""
    async with Children(tmp_path) as children:
        engines = await start_engines(children, "chat", 3)
        async with running_stack(tmp_path, engines) as stack:
            yield stack


async def test_an_engine_is_killed_and_the_others_answer_for_it(mortal: Stack) -> None:
    """All of its requests are without a response header, as none of them streams."""
    victim, *others = mortal.engines
    await mortal.fault("hang")

    async def all_are_busy() -> bool:
        busy = [await engine.in_flight(mortal.session) for engine in mortal.engines]
        return sum(busy) == 60 and busy[0] >= 10

    answers: list[asyncio.Task[Answer]] = []
    async with asyncio.timeout(2 * PATIENCE_S), asyncio.TaskGroup() as tasks:
        answers += [tasks.create_task(mortal.complete(f"{n} before")) for n in range(60)]
        await eventually(all_are_busy, "requests hang in the engine that will die")
        victim.child.process.kill()
        for engine in others:
            await engine.fault(mortal.session, "heal")
        answers += [tasks.create_task(mortal.complete(f"{n} after")) for n in range(60)]
    assert [answer.result().status for answer in answers] == 120 * [200]
    served = [(await engine.counters(mortal.session)).requests for engine in others]
    assert sum(served) == 120
    await leases_returned(mortal)


@undisturbed
async def test_a_killed_engine_breaks_only_its_own_streams(mortal: Stack) -> None:
    victim, *others = mortal.engines
    await mortal.fault("heal")
    await engines_are_idle(mortal)
    await mortal.fault("straggle", factor=20)
    begun: list[int] = []

    async def read(number: int) -> bool:
        """Whether the stream came to its end."""
        async with mortal.streaming(f"{number} stream", max_tokens=200) as response:
            text = await response.content.readuntil(b"\n\n")
            begun.append(number)
            try:
                text += await response.read()
            except Exception:  # noqa: BLE001  # however aiohttp calls a connection that broke
                return False
            return text.endswith(b"data: [DONE]\n\n")

    async with asyncio.timeout(2 * PATIENCE_S), asyncio.TaskGroup() as tasks:
        streams = [tasks.create_task(read(number)) for number in range(30)]

        async def all_have_begun() -> bool:
            return len(begun) == 30

        await eventually(all_have_begun, "every stream has its first token")
        await mortal.fault("hang")
        presume(await mortal.in_flight() == 30, "a stream has ended")
        lost = await victim.in_flight(mortal.session)
        victim.child.process.kill()
        for engine in others:
            await engine.fault(mortal.session, "heal")
    assert [stream.result() for stream in streams].count(False) == lost > 0
    await leases_returned(mortal)


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
