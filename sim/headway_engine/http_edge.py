"""What every answer gets: vLLM's headers, error bodies and request counts."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from headway_engine.bodies import Body, parse
from headway_engine.errors import Refused
from headway_engine.http_metrics import HttpMetrics

ANSWER_LIMIT_S = 24 * 3600.0
"""No answer takes longer; a client that waits for a hanging engine gives up long before."""

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def json_response(
    payload: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=orjson.dumps(payload),
        status=status,
        headers=headers,
        content_type="application/json",
    )


async def read_body(model: type[Body], request: web.Request) -> Body:
    """Raises: Refused: not declared as JSON, or not what ``model`` wants."""
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refused(
            400,
            "Bad Request",
            "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed",
        )
    return parse(model, await request.read())


class HttpEdge:
    def __init__(
        self, metrics: HttpMetrics, *, request_id_headers: bool, load_tracking: bool
    ) -> None:
        self._metrics = metrics
        self._request_id_headers = request_id_headers
        self._load_tracking = load_tracking
        self.server_load = 0
        """Generation requests in progress, where ``--enable-server-load-tracking`` counts them."""

    def install(self, app: web.Application) -> None:
        @web.middleware
        async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._handle(request, handler)

        app.middlewares.append(edge)
        app.on_response_prepare.append(self._headers)

    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        started_s = time.perf_counter()
        tracked = self._load_tracking and request.method == "POST"
        self.server_load += tracked
        response: web.StreamResponse | None = None
        try:
            response = await _answered(request, handler)
        finally:
            self.server_load -= tracked
            self._count(request, response, time.perf_counter() - started_s)
        return response

    def _count(
        self, request: web.Request, response: web.StreamResponse | None, seconds: float
    ) -> None:
        resource = request.match_info.route.resource
        self._metrics.observe(
            "none" if resource is None else resource.canonical,
            request.method,
            # A client that has left: vLLM's framework counts the status it had begun with.
            200 if response is None else response.status,
            request_bytes=request.content_length or 0,
            response_bytes=0 if response is None else response.content_length or 0,
            seconds=seconds,
        )

    async def _headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = "uvicorn"
        response.headers["Vary"] = "Origin"
        if self._request_id_headers:
            given = request.headers.get("X-Request-Id")
            response.headers["X-Request-Id"] = given or uuid.uuid4().hex


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            return await handler(request)
    except Refused as error:
        return json_response(error.body(), error.status)
    except web.HTTPException as error:
        return json_response({"detail": error.reason}, error.status)
    except Exception:
        log.exception("answer.failed", extra={"path": request.path})
        fault = Refused(500, "InternalServerError", "Internal server error")
        return json_response(fault.body(), fault.status)
