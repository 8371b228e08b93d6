"""Measures how late the event loop is: what a message waits before the router even sees it."""

import asyncio
import time

from prometheus_client import Histogram

PERIOD_S = 0.1


async def sample_lag(lag_s: Histogram, period_s: float = PERIOD_S) -> None:
    """Observe by how much a sleep of ``period_s`` overruns, until cancelled."""
    while True:
        due = time.monotonic() + period_s
        await asyncio.sleep(period_s)
        lag_s.observe(max(0.0, time.monotonic() - due))
