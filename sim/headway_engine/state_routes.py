"""What the server says of itself: health, load, version, metrics, event sources; development mode.

``/health`` is 200 until the engine is dead, also while the server drains: vLLM does not announce a
drain.
"""

from typing import Any

from aiohttp import web

from headway_engine.answers import VERSION
from headway_engine.driver import EngineDriver
from headway_engine.faults import Faults
from headway_engine.http_edge import HttpEdge, json_response
from headway_engine.http_metrics import HttpMetrics
from headway_engine.metrics import EngineMetrics, ProcessText
from headway_engine.settings import Settings

METRICS_TYPE = "text/plain; version=1.0.0; charset=utf-8"


class StateRoutes:
    def __init__(
        self,
        settings: Settings,
        driver: EngineDriver,
        engine_metrics: EngineMetrics,
        http_metrics: HttpMetrics,
        edge: HttpEdge,
        faults: Faults,
    ) -> None:
        self._settings = settings
        self._driver = driver
        self._engine_metrics = engine_metrics
        self._http_metrics = http_metrics
        self._process = ProcessText()
        self._edge = edge
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        routes = [
            web.get("/health", self.health),
            web.get("/ping", self.health),
            web.post("/ping", self.health),
            web.get("/load", self.load),
            web.get("/version", self.version),
            web.get("/metrics", self.metrics),
            web.get("/kv_event_sources", self.kv_event_sources),
        ]
        if self._settings.dev_mode:
            routes += [
                web.post("/reset_prefix_cache", self.reset_prefix_cache),
                web.post("/pause", self.pause),
                web.post("/resume", self.resume),
                web.get("/is_paused", self.is_paused),
            ]
        return routes

    async def health(self, request: web.Request) -> web.Response:
        return web.Response(status=503 if self._driver.is_dead else 200)

    async def load(self, request: web.Request) -> web.Response:
        return json_response({"server_load": self._edge.server_load})

    async def version(self, request: web.Request) -> web.Response:
        return json_response({"version": VERSION})

    async def metrics(self, request: web.Request) -> web.Response:
        if self._faults.metrics_gone:
            raise web.HTTPNotFound
        text = self._faults.frozen_metrics if self._faults.stale_metrics else None
        if text is None:
            text = "".join(
                (
                    self._process.render(),
                    self._engine_metrics.render(self._driver.stats(), self._driver.held),
                    self._http_metrics.render(),
                )
            )
        if self._faults.stale_metrics:
            self._faults.frozen_metrics = text
        return web.Response(body=text.encode(), headers={"Content-Type": METRICS_TYPE})

    async def kv_event_sources(self, request: web.Request) -> web.Response:
        """The effective configuration by data-parallel rank; empty without events."""
        config = self._settings.kv_events
        sources: dict[str, Any] = {} if config is None else {"0": config.model_dump()}
        return json_response(sources)

    async def reset_prefix_cache(self, request: web.Request) -> web.Response:
        return json_response({"success": self._driver.reset_prefix_cache()})

    async def pause(self, request: web.Request) -> web.Response:
        """New requests wait for ``/resume``; those in flight are aborted unless ``mode=keep``."""
        self._driver.hold()
        if request.query.get("mode", "abort") == "abort":
            self._driver.finish_all("abort")
        if request.query.get("clear_cache", "true").lower() == "true":
            self._driver.reset_prefix_cache()
        return json_response({"status": "paused"})

    async def resume(self, request: web.Request) -> web.Response:
        self._driver.release()
        return json_response({"status": "resumed"})

    async def is_paused(self, request: web.Request) -> web.Response:
        return json_response({"is_paused": self._driver.is_paused})
