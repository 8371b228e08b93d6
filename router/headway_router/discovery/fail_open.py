"""Endpoints that vanish all at once are kept for a while if they still answer."""

from collections.abc import Callable
from dataclasses import replace

from headway_core.facts import Endpoint, EndpointId
from headway_core.policy import Fleet

KEPT_S = 30.0
"""Longer than a control plane that has lost sight of its nodes takes to say so and to recover."""


class FailOpen:
    """``answers`` says whether an endpoint's metrics can still be read."""

    def __init__(self, answers: Callable[[EndpointId], bool]) -> None:
        self._answers = answers
        self._last: dict[str, tuple[Endpoint, ...]] = {}
        """Of pools that had endpoints, the last ones."""
        self._until_s: dict[str, float] = {}
        self.kept: dict[str, int] = {}
        """Endpoints in force that nobody tells of any more, by pool."""

    def fleet(self, wanted: Fleet, now: float) -> Fleet:
        """``wanted``, with the endpoints of a pool that has lost them all."""
        self.kept = {}
        pools = []
        for pool in wanted.pools:
            if pool.endpoints:
                self._last[pool.name] = pool.endpoints
                self._until_s.pop(pool.name, None)
            elif pool.name in self._last:
                until_s = self._until_s.setdefault(pool.name, now + KEPT_S)
                alive = tuple(e for e in self._last[pool.name] if self._answers(e.endpoint_id))
                if now < until_s and alive:
                    pool = replace(pool, endpoints=alive)
                    self.kept[pool.name] = len(alive)
                else:
                    del self._last[pool.name], self._until_s[pool.name]
            pools.append(pool)
        names = {pool.name for pool in wanted.pools}
        self._last = {name: last for name, last in self._last.items() if name in names}
        self._until_s = {name: at for name, at in self._until_s.items() if name in names}
        return Fleet(pools=tuple(pools))

    def due_s(self) -> float | None:
        """When ``fleet`` should be asked again.  None: only with the next change."""
        return min(self._until_s.values(), default=None)
