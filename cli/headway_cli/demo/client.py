"""The client: sends each request at its time, and notes what came back and when."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import aiohttp
import orjson

from headway_cli.demo.streams import read_stream
from headway_router.extproc.headers import DROPPED_REASON
from headway_sim.workloads.request import WorkloadRequest
from headway_sim.workloads.text import prompt_text


class Status(StrEnum):
    COMPLETE = "complete"
    SHED = "shed"
    """Refused by the router, with a reason."""
    FAILED = "failed"
    """Anything else: another status, a broken stream, no usage at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What came of one request.  Times are the engines' (wall seconds / dilation)."""

    status: Status
    prompt_tokens: int
    """As the engine counted them; of the workload where there is no answer."""
    cached_tokens: int = 0
    ttft_s: float | None = None
    """From the arrival in the workload to the first chunk with content; None: there was none."""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Where, and how much slower than written, a workload is sent."""

    url: str
    model: str
    dilation: float
    request_timeout_s: float = 300.0
    """Engine seconds."""


async def replay(
    plan: Replay, requests: Sequence[WorkloadRequest], done: Callable[[Exchange], None]
) -> list[Exchange]:
    """Sends every request at its time, whatever came of those before.  ``done``: progress."""
    exchanges: list[Exchange | None] = [None] * len(requests)
    clock = asyncio.get_running_loop().time

    async def one(index: int, due: float) -> None:
        exchange = await _exchange(session, plan, requests[index], due)
        exchanges[index] = exchange
        done(exchange)

    timeout = aiohttp.ClientTimeout(total=plan.request_timeout_s * plan.dilation)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
        asyncio.TaskGroup() as group,
    ):
        start = clock()
        for index, request in enumerate(requests):
            due = start + request.at_s * plan.dilation
            await asyncio.sleep(max(0.0, due - clock()))
            group.create_task(one(index, due))
    return [exchange for exchange in exchanges if exchange is not None]


async def _exchange(
    session: aiohttp.ClientSession, plan: Replay, request: WorkloadRequest, due: float
) -> Exchange:
    body = orjson.dumps(
        {
            "model": plan.model,
            "prompt": prompt_text(request),
            "max_tokens": request.output_tokens,
            "ignore_eos": True,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )
    url, headers = f"{plan.url}/v1/completions", {"content-type": "application/json"}
    try:
        async with session.post(url, data=body, headers=headers) as response:
            if response.status != 200:
                return await _refused(response, request)
            return await _streamed(response, plan, request, due)
    except (aiohttp.ClientError, TimeoutError) as error:
        return _failed(request, f"{type(error).__name__}: {error}")


async def _refused(response: aiohttp.ClientResponse, request: WorkloadRequest) -> Exchange:
    if reason := response.headers.get(DROPPED_REASON):
        return Exchange(status=Status.SHED, prompt_tokens=request.prompt_tokens, error=reason)
    return _failed(request, f"{response.status}: {(await response.text())[:200]}")


async def _streamed(
    response: aiohttp.ClientResponse, plan: Replay, request: WorkloadRequest, due: float
) -> Exchange:
    stream = await read_stream(response, asyncio.get_running_loop().time)
    if stream.first_text_at is None or stream.usage is None:
        return _failed(request, f"the stream broke off: {stream.tail}")
    return Exchange(
        status=Status.COMPLETE,
        prompt_tokens=stream.usage.prompt_tokens,
        cached_tokens=stream.usage.cached_tokens,
        ttft_s=(stream.first_text_at - due) / plan.dilation,
    )


def _failed(request: WorkloadRequest, error: str) -> Exchange:
    return Exchange(status=Status.FAILED, prompt_tokens=request.prompt_tokens, error=error)
