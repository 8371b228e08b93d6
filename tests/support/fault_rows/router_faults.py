"""Routers that die, restart, are misconfigured or lose their clock."""

import signal
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from fault_rows.load import Ending
from fault_rows.rig import CHAT, HOUR_S, POLICIES, Report, Rig, single_pool
from gateway_stack.running import write_policy
from gateway_stack.stack import PATIENCE_S, Stack, eventually

VICTIM = 1


async def one_of_a_single_pool_is_killed(rig: Rig) -> Report:
    with TemporaryDirectory() as folder:
        async with single_pool(rig, Path(folder)) as stack:
            return await _killed(rig, stack)


async def one_of_several_pools_is_killed(rig: Rig) -> Report:
    report = await _killed(rig, rig.several)
    report.expected |= {Ending.NO_ROUTER}
    return report


async def _killed(rig: Rig, stack: Stack) -> Report:
    finished = await rig.finished()
    models = None if stack is rig.several else (CHAT,)
    async with rig.load(stack, models) as load:
        await load.more(50)
        victim = stack.routers[VICTIM]
        victim.child.process.kill()
        await victim.child.process.wait()
        await eventually(partial(stack.is_left_out, victim), "Envoy leaves the dead router out")
        await load.more(50)
        await _back(stack)
        await load.more(50)
    assert await stack.envoy_count("ext_proc", "failure_mode_allowed") > 0
    assert await stack.envoy_count("cluster.routers", "health_check.failure") > 0
    return Report(endings=load.endings, finished=await rig.finished() - finished)


async def a_rolling_restart(rig: Rig) -> Report:
    stack, finished = rig.several, await rig.finished()
    async with rig.load() as load:
        for number in range(len(stack.routers)):
            process = stack.routers[number].child.process
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
            await _back(stack, number)
            await load.more(20)
    return Report(endings=load.endings, finished=await rig.finished() - finished)


async def _back(stack: Stack, number: int = VICTIM) -> None:
    await stack.start_router_again(number)

    async def takes_part() -> bool:
        return not await stack.is_left_out(stack.routers[number])

    await eventually(takes_part, "Envoy uses the router again")


async def the_wall_clock_jumps(rig: Rig) -> Report:
    finished, before = await rig.finished(), len(await rig.decisions())
    async with rig.load() as load:
        await load.more(50)
        await rig.shift_clocks(signal.SIGUSR1)
        await load.more(100)
        await rig.shift_clocks(signal.SIGUSR2)
        await load.more(50)

    async def is_written() -> bool:
        wall = [line["unix_s"] for line in (await rig.decisions())[before:]]
        return bool(max(wall) - min(wall) > HOUR_S - PATIENCE_S)

    await eventually(is_written, "the decision log shows the jump")
    return Report(endings=load.endings, finished=await rig.finished() - finished)


async def a_broken_policy_is_applied(rig: Rig) -> Report:
    stack, finished = rig.several, await rig.finished()
    rejected = await rig.total("headway_config_reloads_total", outcome="rejected")
    broken = {**POLICIES[CHAT], "strategy": {"candidates": "Everybody"}}
    async with rig.load() as load:
        write_policy(stack.config, CHAT, broken)
        await rig.reading(len(stack.routers), "headway_config_problems")
        await load.more(50)
        write_policy(stack.config, CHAT, POLICIES[CHAT])
        await rig.reading(0, "headway_config_problems")
    await rig.counts("headway_config_reloads_total", rejected, outcome="rejected")
    return Report(endings=load.endings, finished=await rig.finished() - finished)
