"""The control port: faults on request, for tests and demonstrations.  Loopback only.

| request | JSON body | effect |
|---|---|---|
| GET /faults | | what is switched on |
| POST /crash_worker | exit_after_s = 3.0 | the engine dies, the server lives that much longer |
| POST /exit | code = 1 | the process exits at once, as if killed |
| POST /hang | | the engine makes no progress; requests are still accepted |
| POST /resume | | it goes on where it was |
| POST /straggle | factor | every step takes ``factor`` times as long; 1 ends it |
| POST /kv_events | delay_s = 0, lose = 0 | event batches are late; so many are lost (-1: all) |
| POST /metrics | stale | true: ``/metrics`` answers what it said at the next scrape, for ever |
| POST /metrics | gone | true: ``/metrics`` is 404 |
| POST /listen | on | false: connections are refused, idle ones closed; those in use go on |
| POST /refuse | on | true: every generation request gets the 503 of a full queue |
| POST /slow_chunks | delay_s | streams write slowly, so tokens share chunks |
| POST /heal | | all of the above off, except a crash |

After a crash running streams end with an error event and ``[DONE]``, plain requests with 500, and
``/health`` says 503, until the process exits with code 1.  Lost event batches still count, and can
be replayed.
"""

import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from headway_engine.bodies import Body, parse
from headway_engine.clock import EngineClock
from headway_engine.driver import EngineDriver
from headway_engine.errors import Refused
from headway_engine.faults import Faults
from headway_engine.http_edge import json_response

EXIT_AFTER_S = 3.0
"""A real server is gone 2.6 to 6.6 s after its worker was killed."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Crash(_Strict):
    exit_after_s: float = Field(default=EXIT_AFTER_S, ge=0)


class Exit(_Strict):
    code: int = Field(default=1, ge=0, le=255)


class Straggle(_Strict):
    factor: float = Field(gt=0, le=1e6)


class KvEvents(_Strict):
    delay_s: float = Field(default=0.0, ge=0)
    lose: int = Field(default=0, ge=-1)


class Metrics(_Strict):
    stale: bool = False
    gone: bool = False


class Switch(_Strict):
    on: bool


class Slow(_Strict):
    delay_s: float = Field(ge=0)


class ControlRoutes:
    def __init__(
        self,
        driver: EngineDriver,
        clock: EngineClock,
        faults: Faults,
        exit_later: Callable[[float, int], None],
        listen: Callable[[bool], Awaitable[None]],
    ) -> None:
        """``exit_later(seconds, code)`` ends the process; ``listen`` opens and closes its port."""
        self._driver = driver
        self._clock = clock
        self._faults = faults
        self._exit_later = exit_later
        self._listen = listen

    def app(self) -> web.Application:
        app = web.Application(middlewares=[_errors_as_json])
        app.add_routes(
            [
                web.get("/faults", self.faults),
                web.post("/crash_worker", self.crash_worker),
                web.post("/exit", self.exit),
                web.post("/hang", self.hang),
                web.post("/resume", self.resume),
                web.post("/straggle", self.straggle),
                web.post("/kv_events", self.kv_events),
                web.post("/metrics", self.metrics),
                web.post("/listen", self.listen),
                web.post("/refuse", self.refuse),
                web.post("/slow_chunks", self.slow_chunks),
                web.post("/heal", self.heal),
            ]
        )
        return app

    async def faults(self, request: web.Request) -> web.Response:
        return self._state()

    async def crash_worker(self, request: web.Request) -> web.Response:
        crash = await _body(Crash, request)
        self._driver.die()
        self._exit_later(crash.exit_after_s, 1)
        return self._state()

    async def exit(self, request: web.Request) -> web.Response:
        code = (await _body(Exit, request)).code
        os._exit(code)

    async def hang(self, request: web.Request) -> web.Response:
        self._driver.hang()
        return self._state()

    async def resume(self, request: web.Request) -> web.Response:
        self._driver.unhang()
        return self._state()

    async def straggle(self, request: web.Request) -> web.Response:
        self._driver.straggle((await _body(Straggle, request)).factor)
        return self._state()

    async def kv_events(self, request: web.Request) -> web.Response:
        wanted = await _body(KvEvents, request)
        self._faults.kv_delay_s = wanted.delay_s
        self._faults.kv_lost_batches = wanted.lose
        return self._state()

    async def metrics(self, request: web.Request) -> web.Response:
        wanted = await _body(Metrics, request)
        self._faults.stale_metrics = wanted.stale
        self._faults.frozen_metrics = None
        self._faults.metrics_gone = wanted.gone
        return self._state()

    async def listen(self, request: web.Request) -> web.Response:
        await self._listen((await _body(Switch, request)).on)
        return self._state()

    async def refuse(self, request: web.Request) -> web.Response:
        self._faults.refusing = (await _body(Switch, request)).on
        return self._state()

    async def slow_chunks(self, request: web.Request) -> web.Response:
        self._faults.chunk_delay_s = (await _body(Slow, request)).delay_s
        return self._state()

    async def heal(self, request: web.Request) -> web.Response:
        self._faults.heal()
        self._driver.unhang()
        self._driver.straggle(1.0)
        await self._listen(True)
        return self._state()

    def _state(self) -> web.Response:
        faults = asdict(self._faults)
        del faults["frozen_metrics"]
        state: dict[str, Any] = {
            **faults,
            "dead": self._driver.is_dead,
            "hanging": self._clock.is_stopped,
            "straggle": self._clock.straggle_factor,
        }
        return json_response(state)


async def _body(model: type[Body], request: web.Request) -> Body:
    """An empty body means the defaults."""
    return parse(model, await request.read() or b"{}")


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Any]
) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except Refused as error:
        return json_response(error.body(), error.status)
    return response
