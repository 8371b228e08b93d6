"""Clients that leave: placed or in the middle of a stream, their lease is returned."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from engine_contract.undisturbed import presume, undisturbed
from gateway_stack.stack import Stack, engines_are_idle, eventually, leases_returned, open_streams

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

CLIENTS = 200


@pytest_asyncio.fixture(loop_scope="session")
async def hanging(one_pool: Stack) -> AsyncIterator[Stack]:
    """Engines that take requests and give nothing back."""
    await one_pool.fault("hang")
    yield one_pool
    await one_pool.fault("heal")


async def test_clients_leave_while_their_requests_are_placed(hanging: Stack) -> None:
    async def all_placed() -> bool:
        return (await hanging.leases(), await hanging.held()) == (CLIENTS, 0)

    async with asyncio.TaskGroup() as tasks:
        clients = [
            tasks.create_task(hanging.complete(f"{number} short", max_tokens=10))
            for number in range(CLIENTS)
        ]
        await eventually(all_placed, "all requests are placed")
        for client in clients:
            client.cancel()
    await leases_returned(hanging)
    await hanging.fault("resume")
    await engines_are_idle(hanging)


@undisturbed
async def test_clients_leave_in_the_middle_of_their_streams(one_pool: Stack) -> None:
    async with open_streams(one_pool, CLIENTS, "long answers"):
        leases = await one_pool.leases()
        presume(await one_pool.in_flight() == CLIENTS, "a stream has ended")
    assert leases == CLIENTS
    await leases_returned(one_pool)
    await engines_are_idle(one_pool)
