"""Reads the engines' metrics and tells the core: what each said, and who refused the connection."""

import asyncio
import errno
import logging
import time
from collections.abc import Callable, Mapping
from random import Random

import aiohttp

from headway_core.events import Scraped, Unreachable
from headway_core.facts import EndpointId, EngineView
from headway_router.endpoints.cadence import Cadence, Schedule
from headway_router.endpoints.dialects import engine_view
from headway_router.metric_labels import ScrapeOutcome
from headway_router.metrics import Metrics

log = logging.getLogger(__name__)

TIMEOUT_S = 1.0
"""Longer than any answer of a live engine (0.1 s under load in our recordings of vLLM 0.32)."""
MAX_TEXT_BYTES = 4 * 2**20
CONCURRENT_SCRAPES = 64
_NOTHING = EngineView()


class Scraper:
    """Keeps the core's views of all endpoints fresh; owns its HTTP connections.

    ``observe`` gets the events, ``has_leases`` says whether an endpoint serves requests of ours.
    """

    def __init__(
        self,
        *,
        observe: Callable[[Scraped | Unreachable], None],
        has_leases: Callable[[EndpointId], bool],
        cadence: Cadence,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        self._observe = observe
        self._has_leases = has_leases
        self._cadence = cadence
        self._schedule = Schedule(cadence, rng)
        self._metrics = metrics
        self._paths: Mapping[EndpointId, str] = {}
        self._views: dict[EndpointId, EngineView] = {}
        self._unreachable: set[EndpointId] = set()
        self._slots = asyncio.Semaphore(CONCURRENT_SCRAPES)

    def watch(self, paths: Mapping[EndpointId, str]) -> None:
        """Read these endpoints from here on, each at its path, and no others."""
        self._paths = dict(paths)
        self._schedule.replace(self._paths, time.monotonic())
        self._views = {e: view for e, view in self._views.items() if e in self._paths}
        self._unreachable &= self._paths.keys()

    def is_unreachable(self, endpoint_id: EndpointId) -> bool:
        """It refused the last connection."""
        return endpoint_id in self._unreachable

    def answers(self, endpoint_id: EndpointId) -> bool:
        """Its metrics could be read when that was last tried."""
        return endpoint_id in self._views and endpoint_id not in self._unreachable

    async def run(self) -> None:
        """Scrape until cancelled."""
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=1)
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                headers={"Accept-Encoding": "identity"},
            ) as session,
            asyncio.TaskGroup() as scrapes,
        ):
            while True:
                for endpoint_id in self._schedule.start_due(time.monotonic(), self._has_leases):
                    url = f"http://{endpoint_id}{self._paths[endpoint_id]}"
                    scrapes.create_task(self._scrape(session, endpoint_id, url))
                await asyncio.sleep(self._cadence.tick_s)

    async def _scrape(
        self, session: aiohttp.ClientSession, endpoint_id: EndpointId, url: str
    ) -> None:
        async with self._slots:
            began = time.monotonic()
            view: EngineView | None = None
            try:
                view = await _read(session, url)
                outcome = ScrapeOutcome.OK if view else ScrapeOutcome.ERROR
            except TimeoutError:
                outcome = ScrapeOutcome.TIMEOUT
            except (aiohttp.ClientError, OSError) as error:
                outcome = ScrapeOutcome.REFUSED if _is_refused(error) else ScrapeOutcome.ERROR
        self._metrics.scraped(outcome)
        if endpoint_id not in self._schedule:  # it left the fleet meanwhile
            return
        ended = time.monotonic()
        changed = view is not None and view != self._views.get(endpoint_id)
        active = changed or (view is not None and self._has_leases(endpoint_id))
        self._schedule.ended(endpoint_id, ended, active=active)
        if view is not None:
            self._metrics.scrape_s.observe(ended - began)
            self._reached(endpoint_id, view)
        elif outcome is ScrapeOutcome.REFUSED:
            self._refused(endpoint_id)

    def _reached(self, endpoint_id: EndpointId, view: EngineView) -> None:
        self._views[endpoint_id] = view
        if endpoint_id in self._unreachable:
            self._unreachable.discard(endpoint_id)
            log.info("endpoint.reachable", extra={"endpoint": endpoint_id})
        self._observe(Scraped(endpoint_id, view))

    def _refused(self, endpoint_id: EndpointId) -> None:
        if endpoint_id not in self._unreachable:
            self._unreachable.add(endpoint_id)
            log.warning("endpoint.unreachable", extra={"endpoint": endpoint_id})
        self._observe(Unreachable(endpoint_id))


async def _read(session: aiohttp.ClientSession, url: str) -> EngineView | None:
    """None: it answered, but not with metrics of an engine."""
    async with session.get(url, allow_redirects=False) as response:
        if response.status != 200:
            return None
        text = bytearray()
        async for chunk in response.content.iter_any():
            text += chunk
            if len(text) > MAX_TEXT_BYTES:
                return None
    view = engine_view(bytes(text))
    return None if view == _NOTHING else view


def _is_refused(error: Exception) -> bool:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return isinstance(cause, OSError) and cause.errno == errno.ECONNREFUSED
