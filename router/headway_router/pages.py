"""Serves pages that are rendered when they are asked for: metrics and debug."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Page:
    content_type: str
    render: Callable[[], bytes]


@asynccontextmanager
async def serving_pages(host: str, port: int, pages: Mapping[str, Page]) -> AsyncIterator[int]:
    """GET each path of ``pages`` while in the block, on the port that is given; 0: a free one.

    Raises:
        OSError: the port is taken, or the address is not this machine's.
    """
    app = web.Application()
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
