"""The process: everything wired together, one task group, and how it ends.

SIGTERM with ``--shutdown-timeout`` 0 ends what is in flight at once, with the finish reason
"abort".  With a timeout the engine finishes what it has; requests that come meanwhile hang and get
500 at the end, and ``/health`` stays 200, all as a real server does.
"""

import asyncio
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from aiohttp import web

from headway_engine.adapters import Adapters
from headway_engine.block_residency import BlockResidency
from headway_engine.cache_config import cache_config
from headway_engine.clock import EngineClock
from headway_engine.control import ControlRoutes
from headway_engine.driver import EngineDriver, StepObserver
from headway_engine.errors import CannotListen
from headway_engine.faults import Faults
from headway_engine.frontend import Frontend
from headway_engine.http_edge import HttpEdge
from headway_engine.http_metrics import HttpMetrics
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
KEEP_ALIVE_S = 5.0
"""vLLM's VLLM_HTTP_TIMEOUT_KEEP_ALIVE."""
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Addresses:
    host: str
    port: int
    control_port: int | None


class Server:
    """Everything but the sockets."""

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
        self.publisher: KvEventPublisher | None = None
        if settings.kv_events is not None and settings.kv_events.publisher == "zmq":
            self.publisher = KvEventPublisher(
                settings.kv_events, settings.engine.block_tokens, self.faults
            )
            observers.append(self.publisher)
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


class Ending:
    """When the process ends, and with which code; the first reason counts."""

    def __init__(self) -> None:
        self._code: int | None = None
        self._decided = asyncio.Event()
        self.terminated = asyncio.Event()
        """SIGTERM or SIGINT came."""

    def decide(self, code: int) -> None:
        if self._code is None:
            self._code = code
        self._decided.set()

    def decide_later(self, seconds: float, code: int) -> None:
        asyncio.get_running_loop().call_later(seconds, self.decide, code)

    async def decided(self) -> int:
        await self._decided.wait()
        return self._code or 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self.terminated.set)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)


async def serve(
    settings: Settings, ready: Callable[[Addresses], None], rng: random.Random | None = None
) -> int:
    """Serve until a signal or a fault ends it; return the exit code.

    Raises:
        SettingsInvalid, CannotListen: it did not start.
    """
    server = Server(settings, random.Random() if rng is None else rng)
    ending = Ending()
    control = ControlRoutes(server.driver, server.clock, server.faults, ending.decide_later)
    with ExitStack() as resources:
        if server.publisher is not None:
            resources.enter_context(server.publisher)
        resources.enter_context(ending.listening())
        runners = [_runner(server.app())]
        if settings.flags.control_port is not None:
            runners.append(_runner(control.app()))
        try:
            addresses = await _listen(runners, settings)
            async with asyncio.TaskGroup() as tasks:
                work = [tasks.create_task(server.driver.run(), name="engine")]
                work.append(tasks.create_task(_drain_on_signal(server, ending), name="drain"))
                if server.publisher is not None:
                    replays = server.publisher.answer_replays()
                    work.append(tasks.create_task(replays, name="kv-replay"))
                ready(addresses)
                code = await ending.decided()
                for runner in runners:
                    await runner.cleanup()
                for task in work:
                    task.cancel()
            return code
        finally:
            for runner in runners:
                await runner.cleanup()


async def _drain_on_signal(server: Server, ending: Ending) -> None:
    await ending.terminated.wait()
    timeout_s = server.settings.flags.shutdown_timeout
    driver = server.driver
    driver.hold()
    if timeout_s > 0:
        try:
            async with asyncio.timeout(timeout_s):
                await driver.drained()
        except TimeoutError:
            pass
    driver.finish_all("abort")
    driver.fail_held()
    ending.decide(0)


def _runner(app: web.Application) -> web.AppRunner:
    return web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=KEEP_ALIVE_S,
        shutdown_timeout=1.0,
    )


async def _listen(runners: list[web.AppRunner], settings: Settings) -> Addresses:
    flags = settings.flags
    ports: list[tuple[str, int]] = [(flags.host, flags.port)]
    if flags.control_port is not None:
        ports.append((LOOPBACK, flags.control_port))
    bound = []
    for runner, (host, port) in zip(runners, ports, strict=True):
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise CannotListen(f"cannot listen on {host}:{port}: {error.strerror}") from error
        bound.append(runner.addresses[0][1])
    return Addresses(flags.host, bound[0], bound[1] if len(bound) > 1 else None)
