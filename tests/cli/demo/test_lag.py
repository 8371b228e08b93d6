"""The lag meter: a stall counts for as long as it lasts."""

import asyncio
import time

from headway_cli.demo.lag import INTERVAL_S, LagMeter


async def test_a_stall_is_as_many_late_samples_as_were_due_in_it() -> None:
    meter = LagMeter()
    async with asyncio.TaskGroup() as tasks:
        metering = tasks.create_task(meter.run())
        while len(meter.samples_s) < 5:  # noqa: ASYNC110  # the meter tells nobody
            await asyncio.sleep(INTERVAL_S)
        before = len(meter.samples_s)
        time.sleep(0.3)  # noqa: ASYNC251  # this is the stall
        while len(meter.samples_s) == before:  # noqa: ASYNC110
            await asyncio.sleep(INTERVAL_S)
        metering.cancel()
    stalled = meter.samples_s[before:]
    assert len(stalled) >= 0.3 / INTERVAL_S - 1
    assert max(stalled) >= 0.3 - 2 * INTERVAL_S
