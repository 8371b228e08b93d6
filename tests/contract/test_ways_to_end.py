"""How a server ends: drained by SIGTERM, or with its worker process gone.

These tests end the servers that the others use, and they come last by the name of this file; a
server that is gone is started again for whoever asks next.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import pytest

from engine_contract import servers
from engine_contract.client import CHAT, COMPLETIONS, DONE, Answer, Client
from engine_contract.long_requests import LongRequests
from engine_contract.process import EngineProcess
from engine_contract.undisturbed import Disturbed, presume, undisturbed

FreshPrompt = Callable[[int], list[int]]

EXIT_LIMIT_S = 240.0

DEAD = {
    "error": {
        "message": "EngineCore encountered an issue. See stack trace (above) for the root cause.",
        "type": "InternalServerError",
        "param": None,
        "code": 500,
    }
}


@asynccontextmanager
async def server_to_end(engines: servers.Engines, name: str) -> AsyncIterator[EngineProcess]:
    """A server that is gone afterwards, in whatever state an experiment leaves it."""
    server = engines.server(name)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)


@contextmanager
def still_open() -> Iterator[None]:
    """Raises: Disturbed: if the server no longer takes a connection."""
    try:
        yield
    except aiohttp.ClientConnectionError as error:
        raise Disturbed("the server had closed its port") from error


async def exit_code(server: EngineProcess) -> int:
    return await asyncio.to_thread(server.wait_until_gone, EXIT_LIMIT_S)


@undisturbed
async def test_sigterm_lets_a_running_stream_end_and_health_does_not_tell(
    limited: Client, engines: servers.Engines, fresh_prompt: FreshPrompt
) -> None:
    asked = 1900
    body = limited.completion(fresh_prompt(40), max_tokens=asked)
    body["stream_options"] = {"include_usage": True}
    async with server_to_end(engines, "limited") as server:
        long = await LongRequests.to_begin(limited)
        async with limited.stream(COMPLETIONS, body) as stream:
            await anext(stream)
            server.terminate()
            with still_open():
                health = await limited.get("/health")
                await long.metrics()
            events = await stream.rest()
        assert health.status == 200
        assert events[-1] == DONE
        assert events[-2]["usage"]["completion_tokens"] == asked
        await exit_code(server)
        with pytest.raises(aiohttp.ClientConnectorError):
            await limited.get("/health")


@undisturbed
async def test_a_dead_worker_ends_streams_with_an_error_and_then_the_server(
    main: Client, engines: servers.Engines, fresh_prompt: FreshPrompt
) -> None:
    completion = main.completion(fresh_prompt(40), max_tokens=1900)
    chat = {key: value for key, value in completion.items() if key != "prompt"}
    chat["messages"] = [{"role": "user", "content": "a"}]
    async with server_to_end(engines, "main") as server:
        async with (
            main.stream(COMPLETIONS, completion) as one,
            main.stream(CHAT, chat) as two,
            asyncio.TaskGroup() as group,
        ):
            for stream in (one, two):
                await anext(stream)
            # Health is asked without a pause: vLLM looks for a dead engine every five seconds, and
            # closes its port when it finds one.
            unhealthy = group.create_task(first_unhealthy(main))
            await asyncio.to_thread(engines.kind.crash, server)
            assert (await unhealthy).status == 503
            # A plain request that fails makes vLLM close at once, so it comes after that.
            with still_open():
                plain = await main.post(COMPLETIONS, completion)
            endings = [(await stream.rest())[-2:] for stream in (one, two)]
        was_late = any(came_to_its_end(last) for last, _ in endings)
        presume(not was_late, "a stream came to its end before the crash")
        assert (plain.status, plain.json) == (500, DEAD)
        assert (one.status, two.status) == (200, 200)
        assert endings == [[DEAD, DONE], [DEAD, DONE]]
        await exit_code(server)


def came_to_its_end(event: Any) -> bool:
    return "choices" in event and event["choices"][0]["finish_reason"] == "length"


async def first_unhealthy(client: Client) -> Answer:
    async with asyncio.timeout(EXIT_LIMIT_S):
        with still_open():
            while (answer := await client.get("/health")).status == 200:
                pass
    return answer
