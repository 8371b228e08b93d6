"""The router process: builds every part, runs them in one TaskGroup, drains on a signal."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from random import Random
from time import monotonic

from headway_core.events import Unreachable
from headway_core.policy import Fleet
from headway_core.router import Router
from headway_router.debug import debug_page
from headway_router.decision_log import decision_log_for
from headway_router.dispatch import Dispatcher
from headway_router.endpoints.cadence import Cadence
from headway_router.endpoints.scrape import Scraper
from headway_router.explaining import Explainer
from headway_router.extproc.service import ExternalProcessor
from headway_router.extproc.session import SessionOptions
from headway_router.health import Health, serving_health
from headway_router.kv_events.prompts import Prompts
from headway_router.kv_events.subscriptions import Subscriptions
from headway_router.lag import sample_lag
from headway_router.metrics import CONTENT_TYPE, Metrics
from headway_router.openai.intake import Intake
from headway_router.openai.ratios import TokenRatios
from headway_router.otlp import tracing_for
from headway_router.pages import Form, Page, serving_pages
from headway_router.ports import Ports, claiming
from headway_router.readings import readings
from headway_router.sampling import Sampling
from headway_router.serving import certificates_for, transport_for
from headway_router.settings import LOOPBACK, Settings
from headway_router.sources import source_for
from headway_router.stop_signal import stop_signal

log = logging.getLogger(__name__)


async def run(settings: Settings, on_ready: Callable[[Ports], None]) -> None:
    """Route until SIGTERM or SIGINT, then drain.  A second signal ends the process at once.

    Raises:
        InvalidDocuments: the folder does not make a configuration.
        BadCertificate: that of the ext_proc port cannot be used.
        CannotWrite: the decision log.
        CannotListen: a port is taken.
        ExceptionGroup: a part has failed; the process cannot go on without it.
    """
    app = App(settings)
    app.source.load()
    with stop_signal() as stopped:
        async with app.listening() as ports, asyncio.TaskGroup() as tasks:
            parts = [tasks.create_task(part) for part in app.parts()]
            _leave_to_the_collector_only_what_requests_make()
            on_ready(ports)
            log.info("router.ready", extra={"host": settings.host, **asdict(ports)})
            await app.drain(await stopped)
            for part in parts:
                part.cancel()
    log.info("router.stopped")


def _leave_to_the_collector_only_what_requests_make() -> None:
    """What exists now lives as long as the process: the cyclic collector need not look at it.

    Requests make few cycles, so it may also look less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


class App:
    """The parts of one router, wired together.

    Raises:
        BadCertificate: that of the ext_proc port cannot be used.
        CannotWrite: the decision log.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = monotonic()
        rng = Random()
        self.metrics = Metrics()
        self.health = Health()
        ratios = TokenRatios()
        prompts = Prompts(ratios)
        self.decision_log = decision_log_for(settings, self.metrics)
        core = self.decision_log.core if self.decision_log else Router(rng)
        self.dispatcher = Dispatcher(core, self.metrics, monotonic, prompts)
        self.scraper = Scraper(
            observe=self.dispatcher.observe,
            has_leases=lambda endpoint_id: core.leases_at(endpoint_id) > 0,
            cadence=Cadence(min_s=settings.scrape_min_s, max_s=settings.scrape_max_s),
            rng=rng,
            metrics=self.metrics,
        )
        self.certificates = certificates_for(settings, self.metrics)
        self.caches = Subscriptions(
            prompts=prompts, observe=self.dispatcher.observe, metrics=self.metrics
        )
        self.source = source_for(
            settings,
            on_fleet=self._apply,
            on_cold_fleet=self._apply_cold,
            dispatcher=self.dispatcher,
            scraper=self.scraper,
            metrics=self.metrics,
            rng=rng,
        )
        intake = Intake(
            lambda: self.dispatcher.catalogue,
            ratios,
            self.metrics,
            max_body_bytes=settings.max_body_bytes,
        )
        self.explainer = Explainer(
            core, self.dispatcher.now, ratios, max_body_bytes=settings.max_body_bytes
        )
        self.tracing = tracing_for(settings, core, self.metrics)
        tracer = self.tracing.tracer if self.tracing else None
        sampling = Sampling(
            self.dispatcher, ratios, self.metrics, monotonic, settings.sampled_streams
        )
        options = SessionOptions(single_destination=settings.single_destination)
        self.transport = transport_for(
            settings,
            ExternalProcessor(self.dispatcher, intake, self.metrics, options, tracer, sampling),
            self.health,
            self.certificates,
        )
        self.metrics.read_from(
            lambda: readings(
                core,
                len(self.source.problems),
                self.certificates,
                self.dispatcher.now(),
                self.caches.readings(),
                ratios,
                self.source.readings(),
            )
        )

    def parts(self) -> list[Coroutine[None, None, None]]:
        """What runs for as long as the process."""
        certificates = [self.certificates.run()] if self.certificates else []
        decision_log = [self.decision_log.run()] if self.decision_log else []
        spans = [self.tracing.exporter.run()] if self.tracing else []
        return [
            *certificates,
            *decision_log,
            *spans,
            self.dispatcher.run(),
            self.source.run(),
            self.scraper.run(),
            self.caches.run(),
            sample_lag(self.metrics.event_loop_lag_s),
        ]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Ports]:
        """Serve on all four ports.

        Raises:
            CannotListen: on one of them.
        """
        chosen, host = self._settings, self._settings.host
        metrics_page = Page(CONTENT_TYPE, self.metrics.page)
        debug_page = Page("application/json", self._debug)
        async with AsyncExitStack() as stack:
            with claiming("--debug-port", LOOPBACK, chosen.debug_port):
                explain = Form("/explain", self.explainer.answer, chosen.max_body_bytes)
                pages = serving_pages(LOOPBACK, chosen.debug_port, {"/debug": debug_page}, explain)
                debug_port = await stack.enter_async_context(pages)
            with claiming("--metrics-port", host, chosen.metrics_port):
                pages = serving_pages(host, chosen.metrics_port, {"/metrics": metrics_page})
                metrics_port = await stack.enter_async_context(pages)
            with claiming("--grpc-health-port", host, chosen.grpc_health_port):
                health = serving_health(self.health, host, chosen.grpc_health_port)
                grpc_health_port = await stack.enter_async_context(health)
            with claiming("--grpc-port", host, chosen.grpc_port):
                await self.transport.start()
            stack.push_async_callback(self.transport.stop, 0.0)
            self.source.identify(self.transport.port)
            yield Ports(
                grpc_port=self.transport.port,
                grpc_health_port=grpc_health_port,
                metrics_port=metrics_port,
                debug_port=debug_port,
            )

    async def drain(self, why: signal.Signals) -> None:
        """Not ready at once; new streams for a while, as gateways notice late; then the open ones.

        A person who presses Ctrl-C has no gateway that should notice.
        """
        self.health.drain()
        await self.source.leave()
        extra = {"signal": why.name, "streams_open": self.metrics.streams_open}
        log.info("router.draining", extra=extra)
        timeout_s = self._settings.drain_timeout_s
        notice_s = min(self._settings.drain_notice_s, timeout_s) if why is signal.SIGTERM else 0.0
        await asyncio.sleep(notice_s)
        self.health.close()
        await self.transport.stop(timeout_s - notice_s)

    def _apply(self, fleet: Fleet) -> None:
        self.dispatcher.apply(fleet)
        self.scraper.watch(
            {e.endpoint_id: pool.metrics_path for pool in fleet.pools for e in pool.endpoints}
        )
        self.caches.watch(fleet)
        self.health.fleet_applied(fleet)

    def _apply_cold(self, fleet: Fleet) -> None:
        """Of endpoints that may be gone: each counts once it has been scraped."""
        self._apply(fleet)
        for pool in fleet.pools:
            for endpoint in pool.endpoints:
                self.dispatcher.observe(Unreachable(endpoint.endpoint_id))

    def _debug(self) -> bytes:
        return debug_page(
            self.dispatcher.core,
            now=self.dispatcher.now(),
            process={
                "is_ready": self.health.is_ready,
                "is_draining": self.health.is_draining,
                "pid": os.getpid(),
                "uptime_s": round(monotonic() - self._started, 1),
                "streams_open": self.metrics.streams_open,
                "tls": self.certificates and self.certificates.debug(),
            },
            configuration=self.source.debug(),
            requests=self.metrics.requests(),
            predicted_tokens={
                "prompt": self.metrics.prompt_tokens.by_label(),
                "hit": self.metrics.hit_tokens.by_label(),
            },
            caches=self.caches.debug(),
        )
