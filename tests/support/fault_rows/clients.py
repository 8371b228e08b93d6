"""Clients that leave, and clients that are slow."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from engine_contract.undisturbed import presume
from fault_rows.load import Ending, a_body, ending, judged
from fault_rows.rig import CHAT, Report, Rig
from gateway_stack.stack import engines_are_idle, eventually, leases_returned

HELD = 1000
CANCELLED = HELD + 300
"""Some are dispatched at once, and more as time passes."""
SLOW = 20
SLOW_TOKENS = 200


async def a_thousand_held_requests_are_cancelled(rig: Rig) -> Report:
    """Prompts of 1,500 tokens: two or three fill the window of an engine."""
    stack = rig.several
    await rig.fault(rig.chat, "hang")
    counted, finished = await rig.total("headway_requests_total"), await rig.finished()
    held = 0

    async def are_here() -> bool:
        nonlocal held
        presume(not any(client.done() for client in clients), "a request was held for too long")
        held = await stack.held()
        return held + await stack.leases() == CANCELLED

    body: dict[str, Any] = {"model": CHAT, "max_tokens": 1, "ignore_eos": True}
    async with asyncio.TaskGroup() as tasks:
        clients = [
            tasks.create_task(ending(stack, body | {"prompt": f"{number} " + "x" * 6000}))
            for number in range(CANCELLED)
        ]
        await eventually(are_here, "all requests have reached the routers")
        for client in clients:
            client.cancel()
    presume(held >= HELD, "the routers have let too many requests go")
    await leases_returned(stack)
    await rig.reading(0, "headway_held_requests")
    # Each counts once, most as placed: as those in front leave, their turn comes before their end.
    assert await rig.total("headway_requests_total") - counted == CANCELLED
    await rig.fault(rig.chat, "heal")
    await engines_are_idle(stack)
    async with rig.load() as load:
        pass
    return Report(endings=load.endings, finished=await rig.finished() - finished)


async def some_are_slow(rig: Rig) -> Report:
    stack, finished = rig.several, await rig.finished()
    go_on = asyncio.Event()

    async def sent_slowly(number: int) -> Ending:
        body = a_body(CHAT, number, stream=number % 2 == 0)
        text = json.dumps(body).encode()

        async def pieces() -> AsyncIterator[bytes]:
            yield text[:20]
            await go_on.wait()
            yield text[20:]

        return await ending(stack, body, pieces())

    async def read_slowly(number: int) -> Ending:
        body = a_body(CHAT, number, stream=True, max_tokens=SLOW_TOKENS)
        async with stack.session.post(
            f"{stack.envoy.url}/v1/completions", json=body, read_bufsize=512
        ) as response:
            text = await response.content.readexactly(64)
            await go_on.wait()
            return judged(text + await response.read(), body)

    async def others_are_done() -> bool:
        """Slow readers may have had all of theirs sent to them; slow senders have no lease."""
        open_streams = await rig.total("headway_streams_open")
        leases = await rig.total("headway_leases_outstanding")
        return SLOW <= open_streams <= 2 * SLOW and leases == open_streams - SLOW

    async with asyncio.TaskGroup() as tasks:
        slow = [tasks.create_task(sent_slowly(number)) for number in range(SLOW)]
        slow += [tasks.create_task(read_slowly(number)) for number in range(SLOW)]
        async with rig.load() as load:
            await load.more(50)
        await eventually(others_are_done, "only slow clients are left")
        go_on.set()
    endings = load.endings + Counter(task.result() for task in slow)
    return Report(endings=endings, finished=await rig.finished() - finished)
