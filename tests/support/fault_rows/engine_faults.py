"""Engines that die, hang, refuse, or say nothing of themselves."""

import asyncio
import time
from collections import Counter

from engine_contract.undisturbed import presume
from fault_rows.load import Ending, a_body, ending, judged
from fault_rows.rig import CHAT, CODE, Report, Rig
from gateway_stack.stack import PATIENCE_S, engines_are_idle, eventually

FLAPS_PER_MINUTE = 1000
LEAST_FLAPS = 30
STREAM_TOKENS = 40
STRAGGLE = 40
"""Streams that have begun go on for half a minute."""
AT_ONCE = 300
LOST_BATCHES = 3


async def killed_before_the_first_byte(rig: Rig) -> Report:
    """None of those in flight streams, as engines send the headers of a stream at once."""
    stack = rig.several
    victim, *others = rig.chat
    fallbacks = await rig.total("headway_fallbacks_total")
    await rig.fault(rig.chat, "hang")

    async def all_are_busy() -> bool:
        busy = [await engine.in_flight(stack.session) for engine in rig.chat]
        return sum(busy) == AT_ONCE and busy[0] >= 20

    async with asyncio.TaskGroup() as tasks:
        asked = [
            tasks.create_task(ending(stack, a_body(CHAT, 2 * number, stream=False)))
            for number in range(AT_ONCE)
        ]
        await eventually(all_are_busy, "requests hang in the engine that will die")
        await rig.kill(victim)
        await rig.fault(others, "heal")
    async with rig.load() as load:
        await rig.reading(len(stack.routers), "headway_endpoints", state="unreachable")
    await rig.counts("headway_fallbacks_total", fallbacks)
    await rig.revive(victim)
    return Report(endings=load.endings + Counter(task.result() for task in asked))


async def killed_in_the_middle_of_streams(rig: Rig) -> Report:
    """All streams have begun; those of the victim, and only those, break off."""
    stack = rig.several
    victim, *others = rig.chat
    await rig.fault(rig.chat, "straggle", factor=STRAGGLE)
    begun: list[int] = []

    async def read(number: int) -> Ending:
        body = a_body(CHAT, 2 * number, stream=True, max_tokens=STREAM_TOKENS)
        url = f"{stack.envoy.url}/v1/completions"
        async with stack.session.post(url, json=body) as response:
            text = await response.content.readuntil(b"\n\n")
            begun.append(number)
            try:
                text += await response.read()
            except Exception:  # noqa: BLE001  # however aiohttp calls a connection that broke
                return Ending.BROKEN
            return judged(text, body)

    async def all_have_begun() -> bool:
        return len(begun) == AT_ONCE

    async with asyncio.timeout(2 * PATIENCE_S), asyncio.TaskGroup() as tasks:
        reading = [tasks.create_task(read(number)) for number in range(AT_ONCE)]
        await eventually(all_have_begun, "every stream has its first token")
        await rig.fault(rig.chat, "hang")
        presume(await stack.in_flight() == AT_ONCE, "a stream has ended")
        lost = await victim.in_flight(stack.session)
        await rig.kill(victim)
        await rig.fault(others, "heal")
    endings = Counter(task.result() for task in reading)
    assert endings[Ending.BROKEN] == lost > 0
    assert await stack.envoy_count(CHAT, "upstream_cx_destroy_with_active_rq") > 0
    await rig.reading(len(stack.routers), "headway_endpoints", state="unreachable")
    await rig.revive(victim)
    async with rig.load() as load:
        pass
    expected = frozenset((Ending.ANSWERED, Ending.BROKEN))
    assert load.endings[Ending.BROKEN] == 0
    return Report(endings=load.endings + endings, expected=expected)


async def hangs(rig: Rig) -> Report:
    report, finished = Report(), await rig.finished()
    while report.endings.total() < rig.scale.requests:
        report.endings += await _hung(rig)
    report.finished = await rig.finished() - finished
    return report


async def _hung(rig: Rig) -> Counter[Ending]:
    """So many at once that some wait in the engine that hangs."""
    stack, victim = rig.several, rig.chat[0]
    await rig.fault([victim], "hang")

    async def only_its_own_wait() -> bool:
        hanging = await victim.in_flight(stack.session)
        answered = sum(task.done() for task in asked)
        return hanging > 0 and hanging + await stack.held() + answered == AT_ONCE

    async with asyncio.TaskGroup() as tasks:
        asked = [
            tasks.create_task(ending(stack, a_body(CHAT, number, stream=number % 3 == 0)))
            for number in range(AT_ONCE)
        ]
        await eventually(only_its_own_wait, "all others have been answered")
        waiting = AT_ONCE - sum(task.done() for task in asked)
        assert 0 < await rig.total("headway_leases_outstanding") <= waiting < AT_ONCE / 2
        await rig.fault([victim], "heal")
    return Counter(task.result() for task in asked)


async def all_metrics_are_gone(rig: Rig) -> Report:
    stack, before = rig.several, await rig.several.requests_by_engine()
    views = len(rig.engines) * len(stack.routers)
    failed = await rig.total("headway_scrapes_total", outcome="error")
    began = time.monotonic()
    await rig.fault(rig.engines, "metrics", gone=True)
    await rig.reading(views, "headway_endpoints_stale")
    async with rig.load() as load:
        while time.monotonic() < began + rig.scale.outage_s:
            await load.more(1)
    assert await rig.total("headway_endpoints_stale") == views
    await rig.counts("headway_scrapes_total", failed, outcome="error")
    await rig.fault(rig.engines, "heal")
    await rig.reading(0, "headway_endpoints_stale")
    after = await stack.requests_by_engine()
    served = {name: after[name] - before[name] for name in before}
    assert min(served.values()) > 0, served
    return Report(endings=load.endings, finished=sum(served.values()))


async def kv_events_are_lost_and_the_engine_restarts(rig: Rig) -> Report:
    """Its requests are over when it dies, so that nothing else is lost."""
    stack, (victim, _) = rig.several, rig.code
    name = "headway_kv_resets_total"
    gaps = await rig.total(name, reason="gap")
    restarts = await rig.total(name, reason="restarted")
    number = 0

    async def asked_until(reason: str, more_than: float) -> None:
        """New prompts, each of several blocks."""

        async def told() -> bool:
            nonlocal number
            number += 1
            prompt = f"{number} {reason} has its own blocks. " * 80
            assert (await stack.complete(prompt, model=CODE)).status == 200
            return await rig.total(name, reason=reason) > more_than

        await eventually(told, f"the routers notice: {reason}")

    async def is_joined() -> bool:
        nonlocal number
        number += 1
        prompt = f"{number} joins events and requests. " * 80
        assert (await stack.complete(prompt, model=CODE)).status == 200
        return await rig.total("headway_caches", knowledge="exact") > 0

    await eventually(is_joined, "events are joined to requests")
    await rig.fault(rig.code, "kv_events", lose=LOST_BATCHES)
    await asked_until("gap", gaps)
    await rig.fault(rig.code, "heal")
    await engines_are_idle(stack)
    await rig.kill(victim)
    async with rig.load() as load:
        await rig.reading(len(stack.routers), "headway_endpoints", state="unreachable")
        await rig.revive(victim)
    await asked_until("restarted", restarts)
    return Report(endings=load.endings)


async def an_endpoint_flaps(rig: Rig) -> Report:
    stack, victim, finished = rig.several, rig.chat[0], await rig.finished()
    refused = await rig.total("headway_scrapes_total", outcome="refused")
    flaps, pause_s = 0, 30 / FLAPS_PER_MINUTE
    async with rig.load() as load:
        while (
            load.done < rig.scale.requests
            or flaps < LEAST_FLAPS
            or not (await rig.total("headway_scrapes_total", outcome="refused") > refused)
        ):
            for on in (False, True):
                await victim.fault(stack.session, "listen", on=on)
                await asyncio.sleep(pause_s)
            flaps += 1
    await rig.reading(0, "headway_endpoints", state="unreachable")
    return Report(endings=load.endings, finished=await rig.finished() - finished)


async def busy(rig: Rig) -> Report:
    victim, finished = rig.chat[0], await rig.finished()
    fallbacks = await rig.total("headway_fallbacks_total")
    await rig.fault([victim], "refuse", on=True)
    async with rig.load() as load:
        await rig.counts("headway_fallbacks_total", fallbacks)
    await rig.fault([victim], "heal")
    return Report(endings=load.endings, finished=await rig.finished() - finished)
