"""How late the event loop is: the measure of whether the machine kept up."""

import asyncio

INTERVAL_S = 0.01


class LagMeter:
    """Sleeps again and again, and notes by how much it overslept, in wall seconds."""

    def __init__(self) -> None:
        self.samples_s: list[float] = []

    async def run(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            slept_at = clock()
            await asyncio.sleep(INTERVAL_S)
            self.samples_s.append(clock() - slept_at - INTERVAL_S)
