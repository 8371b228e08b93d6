"""The routers' scrapes: read in the engine at one time, known to the router later, or never."""

from random import Random

from headway_core.events import Scraped, Unreachable
from headway_core.facts import EngineView
from headway_sim.kernel import Kernel, ns
from headway_sim.seeds import Substreams
from headway_sim.world.hosts import Host
from headway_sim.world.replica import Replica
from headway_sim.world.setting import Scrapes

SCRAPE_PRIORITY = 2
"""A scrape sees all that happened in its instant."""

_Line = tuple[Replica, Host, Random]


class Scraping:
    """Every replica reads every endpoint of its fleet, each pair at its own pace."""

    def __init__(self, scrapes: Scrapes, kernel: Kernel, streams: Substreams) -> None:
        self._scrapes = scrapes
        self._kernel = kernel
        self._streams = streams
        self._is_over = False

    def start(self, replica: Replica, host: Host) -> None:
        rng = self._streams.stream("scrape", replica.number, host.endpoint_id)
        first_ns = ns(rng.random() * self._scrapes.interval_s)
        self._kernel.after(first_ns, self._scrape, (replica, host, rng), SCRAPE_PRIORITY)

    def stop(self) -> None:
        """Nobody is left to be routed: let the run end."""
        self._is_over = True

    def _scrape(self, line: _Line) -> None:
        if self._is_over:
            return
        replica, host, rng = line
        scrapes = self._scrapes
        is_lost = rng.random() < scrapes.loss
        jitter = 1 + scrapes.jitter * (2 * rng.random() - 1)
        self._kernel.after(ns(scrapes.interval_s * jitter), self._scrape, line, SCRAPE_PRIORITY)
        if is_lost or not replica.knows(host.endpoint_id):
            return
        event = _read(host)
        self._kernel.after(ns(scrapes.delay_s), self._deliver, (replica, event))

    def _deliver(self, delivery: tuple[Replica, Scraped | Unreachable]) -> None:
        replica, event = delivery
        if not self._is_over and replica.knows(event.endpoint_id):
            replica.observe(event)


def _read(host: Host) -> Scraped | Unreachable:
    """Gauges of the engine as vLLM's metrics page has them; a dead one refuses the connection."""
    if not host.is_up:
        return Unreachable(host.endpoint_id)
    stats, config = host.stats(), host.spec.config
    view = EngineView(
        waiting=stats.waiting_capacity + stats.waiting_deferred,
        running=stats.running,
        kv_usage=stats.kv_usage,
        kv_cache_tokens=config.cached_tokens,
    )
    return Scraped(host.endpoint_id, view)
