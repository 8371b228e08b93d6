"""How late the event loop is: the measure of whether the machine kept up."""

import asyncio

INTERVAL_S = 0.01


class LagMeter:
    """Something is due every ``INTERVAL_S``; each time it is noted how late it was.

    What became due during a stall is noted too.  A meter that only looked at its own next wake-up
    would count a stall of five seconds as one late sample among thousands.
    """

    def __init__(self) -> None:
        self.samples_s: list[float] = []
        """Wall seconds."""

    async def run(self) -> None:
        """Measures until it is cancelled."""
        clock = asyncio.get_running_loop().time
        due = clock() + INTERVAL_S
        while True:
            await asyncio.sleep(due - clock())
            now = clock()
            while due <= now:
                self.samples_s.append(now - due)
                due += INTERVAL_S
