"""One server without its sockets: engine, front end and routes, wired together."""

import asyncio
import random
from contextlib import AbstractContextManager, nullcontext

from aiohttp import web

from headway_engine.adapters import Adapters
from headway_engine.block_residency import BlockResidency
from headway_engine.cache_config import cache_config
from headway_engine.clock import EngineClock
from headway_engine.driver import EngineDriver
from headway_engine.faults import Faults
from headway_engine.frontend import Frontend
from headway_engine.http_edge import HttpEdge
from headway_engine.http_metrics import HttpMetrics
from headway_engine.in_flight import StepObserver
from headway_engine.kv_events import KvEventPublisher
from headway_engine.messages_api import MessagesApi
from headway_engine.metrics import EngineMetrics
from headway_engine.model_routes import ModelRoutes
from headway_engine.openai_api import OpenAiApi
from headway_engine.orca import OrcaReport
from headway_engine.responses_api import ResponsesApi
from headway_engine.settings import Settings
from headway_engine.state_routes import StateRoutes
from headway_engine.tokenizer import load
from headway_sim.engine.engine import Engine

MAX_BODY_BYTES = 64 << 20


class Server:
    def __init__(self, settings: Settings, rng: random.Random) -> None:
        flags = settings.flags
        self.settings = settings
        self.faults = Faults()
        self.clock = EngineClock(flags.dilation)
        self.http_metrics = HttpMetrics()
        self.metrics = EngineMetrics(
            model_name=settings.served_names[0],
            max_model_len=settings.engine.max_model_len,
            max_loras=settings.max_loras,
            cache_config=cache_config(settings),
            kv_blocks=flags.kv_cache_metrics,
            engine_clock=self.clock,
        )
        observers: list[StepObserver] = []
        if flags.kv_cache_metrics:
            observers.append(BlockResidency(self.metrics.series, self.clock))
        self._publisher: KvEventPublisher | None = None
        if settings.kv_events is not None and settings.kv_events.publisher == "zmq":
            self._publisher = KvEventPublisher(
                settings.kv_events, settings.engine.block_tokens, self.faults
            )
            observers.append(self._publisher)
        self.driver = EngineDriver(
            Engine(settings.engine, settings.step_model),
            self.clock,
            self.metrics,
            observers,
            flags.max_num_queued_reqs,
        )
        self._frontend = Frontend(
            settings,
            load(flags.model, flags.tokenizer),
            Adapters(settings.adapters),
            self.driver,
            self.metrics,
            self.faults,
            rng,
        )
        self._rng = rng

    def app(self) -> web.Application:
        flags, rng = self.settings.flags, self._rng
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        edge = HttpEdge(
            self.http_metrics,
            request_id_headers=flags.enable_request_id_headers,
            load_tracking=flags.enable_server_load_tracking,
        )
        edge.install(app)
        state = StateRoutes(
            self.settings, self.driver, self.metrics, self.http_metrics, edge, self.faults
        )
        openai = OpenAiApi(self._frontend, self.clock, self.faults, OrcaReport(self.driver), rng)
        app.add_routes(state.routes())
        app.add_routes(openai.routes())
        app.add_routes(ModelRoutes(self._frontend, rng).routes())
        app.add_routes(ResponsesApi(self._frontend, self.faults, rng).routes())
        app.add_routes(MessagesApi(self._frontend, self.faults, rng).routes())
        return app

    def event_sockets(self) -> AbstractContextManager[object]:
        """Open while the block runs.  Raises: SettingsInvalid: they cannot be opened."""
        return nullcontext() if self._publisher is None else self._publisher

    async def run(self) -> None:
        """The engine makes progress, and its events can be replayed, until this is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.driver.run(), name="engine")
            if self._publisher is not None:
                tasks.create_task(self._publisher.answer_replays(), name="kv-replay")
