"""The process: sockets, one task group, and how it ends.

SIGTERM with ``--shutdown-timeout`` 0 ends what is in flight at once, with the finish reason
"abort".  With a timeout the engine finishes what it has; requests that come meanwhile hang and get
500 at the end, and ``/health`` stays 200, all as a real server does.
"""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from aiohttp import web

from headway_engine.control import ControlRoutes
from headway_engine.errors import CannotListen
from headway_engine.server import Server
from headway_engine.settings import Settings

KEEP_ALIVE_S = 5.0
"""vLLM's VLLM_HTTP_TIMEOUT_KEEP_ALIVE."""
CLOSE_S = 1.0
"""How long answers may still be written once the end is decided."""
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Addresses:
    host: str
    port: int
    control_port: int | None


async def serve(
    settings: Settings, ready: Callable[[Addresses], None], rng: random.Random | None = None
) -> int:
    """Serve until a signal or a fault ends it; return the exit code.

    Raises:
        SettingsInvalid, CannotListen: it did not start.
    """
    server = Server(settings, random.Random() if rng is None else rng)
    lifetime = Lifetime()
    flags = settings.flags
    async with AsyncExitStack() as stack:
        stack.enter_context(lifetime.signals())
        stack.enter_context(server.event_sockets())
        app = server.app()
        listener = await stack.enter_async_context(_listening(app, flags.host, flags.port))
        control_port = None
        if flags.control_port is not None:
            control = ControlRoutes(
                server.driver, server.clock, server.faults, lifetime.decide_later, listener.switch
            )
            controlled = await stack.enter_async_context(
                _listening(control.app(), LOOPBACK, flags.control_port)
            )
            control_port = controlled.port
        async with asyncio.TaskGroup() as tasks:
            work = [
                tasks.create_task(server.run(), name="server"),
                tasks.create_task(_drain_on_signal(server, lifetime), name="drain"),
            ]
            ready(Addresses(flags.host, listener.port, control_port))
            code = await lifetime.decided()
            for task in work:
                task.cancel()
        return code


class Lifetime:
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
    def signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self.terminated.set)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


async def _drain_on_signal(server: Server, lifetime: Lifetime) -> None:
    await lifetime.terminated.wait()
    driver = server.driver
    driver.hold()
    try:
        async with asyncio.timeout(server.settings.flags.shutdown_timeout):
            await driver.drained()
    except TimeoutError:
        driver.finish_all("abort")
    driver.fail_held()
    lifetime.decide(0)


class Listener:
    """A server's port, which can be closed and opened again."""

    def __init__(self, runner: web.AppRunner, host: str, port: int) -> None:
        self._runner = runner
        self._host = host
        self._site: web.TCPSite | None = None
        self.port = port
        """0 until it is open: then the one that is given stays."""

    async def switch(self, on: bool) -> None:
        """Closed, it refuses connections and ends idle ones.  Raises: OSError."""
        if on and self._site is None:
            site = web.TCPSite(self._runner, self._host, self.port)
            await site.start()
            self._site = site
            self.port = self.port or self._runner.addresses[0][1]
        elif not on and self._site is not None:
            site, self._site = self._site, None
            await site.stop()
            server = self._runner.server
            for connection in server.connections if server else ():
                connection.close()
                # aiohttp stops reading an idle connection, and leaves it open.
                if connection._current_request is None and connection.transport is not None:  # noqa: SLF001
                    connection.transport.close()


@asynccontextmanager
async def _listening(app: web.Application, host: str, port: int) -> AsyncIterator[Listener]:
    """Until the block ends.  Raises: CannotListen."""
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=KEEP_ALIVE_S,
        shutdown_timeout=CLOSE_S,
    )
    await runner.setup()
    listener = Listener(runner, host, port)
    try:
        try:
            await listener.switch(True)
        except OSError as error:
            raise CannotListen(f"cannot listen on {host}:{port}: {error.strerror}") from error
        yield listener
    finally:
        await runner.cleanup()
