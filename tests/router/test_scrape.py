import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest
from aiohttp import web

from engine_contract.process import free_port
from headway_core.events import Scraped, Unreachable
from headway_core.facts import EndpointId, EngineView
from headway_router.endpoints import scrape
from headway_router.endpoints.cadence import Cadence
from headway_router.endpoints.scrape import Scraper
from headway_router.metrics import Metrics


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No stall makes a scrape time out, unless a test asks for that."""
    monkeypatch.setattr(scrape, "TIMEOUT_S", 60)


class FakeEngine:
    """Answers ``/metrics`` and ``/other`` with ``text``, after ``gate`` is set."""

    def __init__(self) -> None:
        self.text = "vllm:num_requests_running 3.0\n"
        self.status = 200
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        """A request waits for the gate."""
        self.endpoint_id = ""
        self.connections: set[object] = set()
        self.requests = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.requests += 1
        if not self.gate.is_set():
            self.asked.set()
        self.connections.add(request.transport)
        await self.gate.wait()
        return web.Response(text=self.text, status=self.status)


@asynccontextmanager
async def _engine(port: int = 0) -> AsyncIterator[FakeEngine]:
    engine = FakeEngine()
    app = web.Application()
    app.router.add_get("/metrics", engine.handle)
    app.router.add_get("/other", engine.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    engine.endpoint_id = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield engine
    finally:
        engine.gate.set()
        await runner.cleanup()


class Observed:
    """A running scraper and what it told."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Scraped | Unreachable] = asyncio.Queue()
        self.metrics = Metrics()
        self.scraper = Scraper(
            observe=self.events.put_nowait,
            has_leases=lambda _: False,
            cadence=Cadence(min_s=0.01, max_s=0.05),
            rng=Random(1),
            metrics=self.metrics,
        )

    async def next(self) -> Scraped | Unreachable:
        async with asyncio.timeout(60):
            return await self.events.get()

    async def until_counted(self, outcome: str, more_than: float = 0) -> None:
        async with asyncio.timeout(60):
            while self.count(outcome) <= more_than:  # noqa: ASYNC110  a counter wakes nobody
                await asyncio.sleep(0.005)

    def count(self, outcome: str) -> float:
        value = self.metrics.registry.get_sample_value(
            "headway_scrapes_total", {"outcome": outcome}
        )
        assert value is not None
        return value


@asynccontextmanager
async def _scraping(paths: Mapping[EndpointId, str]) -> AsyncIterator[Observed]:
    observed = Observed()
    observed.scraper.watch(paths)
    with suppress(asyncio.CancelledError):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(observed.scraper.run())
            yield observed
            task.cancel()


async def test_a_scrape_becomes_a_view_of_the_endpoint() -> None:
    async with _engine() as engine, _scraping({engine.endpoint_id: "/metrics"}) as observed:
        assert await observed.next() == Scraped(engine.endpoint_id, EngineView(running=3))


async def test_the_pools_path_is_asked() -> None:
    async with _engine() as engine, _scraping({engine.endpoint_id: "/other"}) as observed:
        assert await observed.next() == Scraped(engine.endpoint_id, EngineView(running=3))


async def test_one_connection_serves_many_scrapes() -> None:
    async with _engine() as engine, _scraping({engine.endpoint_id: "/metrics"}) as observed:
        for _ in range(5):
            await observed.next()
        assert engine.requests >= 5 and len(engine.connections) == 1


async def test_a_refused_connection_is_told_until_the_endpoint_answers() -> None:
    address = f"127.0.0.1:{(port := free_port())}"
    async with _scraping({address: "/metrics"}) as observed:
        assert await observed.next() == Unreachable(address)
        assert observed.scraper.is_unreachable(address)
        async with _engine(port):
            while (event := await observed.next()) == Unreachable(address):
                pass
            assert event == Scraped(address, EngineView(running=3))
            assert not observed.scraper.is_unreachable(address)


async def test_a_timeout_only_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "TIMEOUT_S", 0.05)
    async with _engine() as engine:
        engine.gate.clear()
        async with _scraping({engine.endpoint_id: "/metrics"}) as observed:
            await observed.until_counted("timeout")
            assert observed.events.empty()
            assert not observed.scraper.is_unreachable(engine.endpoint_id)
            engine.gate.set()
            assert await observed.next() == Scraped(engine.endpoint_id, EngineView(running=3))


@pytest.mark.parametrize(
    ("status", "text"),
    [(500, "vllm:num_requests_running 3.0"), (200, "<html></html>"), (200, "")],
    ids=["an error", "no metrics", "nothing"],
)
async def test_an_answer_without_metrics_says_nothing_of_the_engine(status: int, text: str) -> None:
    async with _engine() as engine:
        engine.status, engine.text = status, text
        async with _scraping({engine.endpoint_id: "/metrics"}) as observed:
            await observed.until_counted("error")
            assert observed.events.empty()


async def test_an_endless_text_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "MAX_TEXT_BYTES", 1000)
    async with _engine() as engine:
        engine.text += "#" * 2000
        async with _scraping({engine.endpoint_id: "/metrics"}) as observed:
            await observed.until_counted("error")
            assert observed.events.empty()


async def test_an_endpoint_that_left_is_not_heard_any_more() -> None:
    async with _engine() as engine, _scraping({engine.endpoint_id: "/metrics"}) as observed:
        await observed.next()
        engine.gate.clear()
        async with asyncio.timeout(60):
            await engine.asked.wait()
        while not observed.events.empty():
            observed.events.get_nowait()
        observed.scraper.watch({})
        before = observed.count("ok")
        engine.gate.set()
        await observed.until_counted("ok", more_than=before)
        assert observed.events.empty()
