"""Serves pages that are rendered when they are asked for: metrics, debug, explanations."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Page:
    content_type: str
    render: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Form:
    """Answers what is posted to any path below ``prefix``, in JSON."""

    prefix: str
    answer: Callable[[str, Mapping[str, str], bytes], tuple[int, bytes]]
    """Takes the path after the prefix, headers with names in lower case, and the body; gives the
    status and the body."""
    max_body_bytes: int


@asynccontextmanager
async def serving_pages(
    host: str, port: int, pages: Mapping[str, Page], form: Form | None = None
) -> AsyncIterator[int]:
    """GET each path of ``pages`` while in the block, on the port that is given; 0: a free one.

    Raises:
        OSError: the port is taken, or the address is not this machine's.
    """
    app = web.Application(client_max_size=form.max_body_bytes + 1 if form else 1)
    if form is not None:
        app.router.add_post(f"{form.prefix}{{path:/.*}}", _answering(form))
    for path, page in pages.items():
        app.router.add_get(path, _handler(page))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _handler(page: Page) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(_: web.Request) -> web.Response:
        headers = {"Content-Type": page.content_type, "Cache-Control": "no-store"}
        return web.Response(body=page.render(), headers=headers)

    return handle


def _answering(form: Form) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        status, body = form.answer(request.match_info["path"], headers, await request.read())
        return web.Response(status=status, body=body, content_type="application/json")

    return handle
