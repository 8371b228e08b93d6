"""Requests that hold their places while an experiment looks at the others."""

from collections.abc import Callable

from engine_contract.client import Client, in_flight
from engine_contract.metrics_text import Exposition
from engine_contract.undisturbed import presume

LONG_TOKENS = 500
"""Long requests ask for more, all others for no more: a bound of the engine's own histogram."""


class LongRequests:
    """Sees to it that no long request has come to its end since the engine was idle.

    One that its client leaves is none of those: the histogram does not count it.
    """

    def __init__(self, client: Client, idle: Exposition) -> None:
        self._client = client
        self.before = idle

    @classmethod
    async def to_begin(cls, client: Client) -> "LongRequests":
        return cls(client, await client.settled())

    async def metrics(self) -> Exposition:
        """A scrape before the end of any long request.  Raises: Disturbed: if one has ended."""
        return await self.metrics_once(lambda _: True)

    async def metrics_once(self, holds: Callable[[Exposition], bool]) -> Exposition:
        """The first such scrape of which ``holds`` is true.  Raises: Disturbed, TimeoutError."""

        def holds_undisturbed(metrics: Exposition) -> bool:
            presume(_ended(metrics) == _ended(self.before), "a long request came to its end")
            return holds(metrics)

        return await self._client.metrics_once(holds_undisturbed)

    async def in_flight_once(self, running: int, waiting: int) -> Exposition:
        """The first such scrape with so many requests.  Raises: Disturbed, TimeoutError."""
        return await self.metrics_once(lambda m: in_flight(m) == (running, waiting))


def _ended(metrics: Exposition) -> float:
    name = "vllm:request_generation_tokens"
    no_longer = metrics.value(f"{name}_bucket", le=f"{LONG_TOKENS:.1f}")
    return metrics.value(f"{name}_count") - no_longer
