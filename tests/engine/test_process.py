"""``headway engine`` as a process: what it prints, and how it ends."""

import asyncio
import json
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

pytestmark = pytest.mark.slow

LIMIT_S = 180.0
READY = re.compile(
    r"headway engine: (?P<name>\S+) on (?P<url>http://127\.0\.0\.1:\d+)"
    r"(, control on (?P<control>http://127\.0\.0\.1:\d+))?\n"
)


@asynccontextmanager
async def started(*flags: str) -> AsyncIterator[asyncio.subprocess.Process]:
    command = [sys.executable, "-m", "headway_cli", "engine", *flags]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(LIMIT_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ready(process: asyncio.subprocess.Process) -> re.Match[str]:
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    match = READY.fullmatch(line)
    assert match is not None, line
    return match


async def test_it_prints_the_ports_it_has_chosen_and_ends_on_sigterm() -> None:
    async with started("--port", "0", "--control-port", "0") as process:
        line = await ready(process)
        async with aiohttp.ClientSession() as http:
            assert (await http.get(line["url"] + "/health")).status == 200
            assert (await http.get(line["control"] + "/faults")).status == 200
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_it_refuses_connections_until_it_listens_again() -> None:
    async with started("--port", "0", "--control-port", "0") as process:
        line = await ready(process)
        async with aiohttp.ClientSession() as http:
            health, listen = line["url"] + "/health", line["control"] + "/listen"
            assert (await http.get(health)).status == 200
            assert (await http.post(listen, json={"on": False})).status == 200
            with pytest.raises(aiohttp.ClientConnectionError):
                await http.get(health)
            assert (await http.post(listen, json={"on": True})).status == 200
            assert (await http.get(health)).status == 200


async def test_a_server_that_publishes_events_ends_as_well(tmp_path: Path) -> None:
    endpoints = {"endpoint": f"ipc://{tmp_path}/kv", "replay_endpoint": f"ipc://{tmp_path}/replay"}
    config = json.dumps({"enable_kv_cache_events": True, **endpoints})
    async with started("--port", "0", "--kv-events-config", config) as process:
        await ready(process)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_sigterm_without_a_timeout_ends_a_stream_as_aborted() -> None:
    slow = ("--dilation", "50")
    async with started("--port", "0", *slow) as process, aiohttp.ClientSession() as http:
        url = (await ready(process))["url"]
        body = {"prompt": "a", "max_tokens": 2000, "ignore_eos": True, "stream": True}
        response = await http.post(url + "/v1/completions", json=body)
        await response.content.readany()
        process.send_signal(signal.SIGTERM)
        *_, last, done, _ = (await response.text()).split("\n\n")
        assert '"finish_reason":"abort"' in last
        assert done == "data: [DONE]"
        assert await process.wait() == 0


async def test_a_crash_ends_the_process_with_a_failure() -> None:
    async with started("--port", "0", "--control-port", "0") as process:
        control = (await ready(process))["control"]
        async with aiohttp.ClientSession() as http:
            await http.post(control + "/crash_worker", json={"exit_after_s": 0})
        assert await process.wait() == 1


async def test_an_exit_is_immediate() -> None:
    async with started("--port", "0", "--control-port", "0") as process:
        control = (await ready(process))["control"]
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.ClientError):
                await http.post(control + "/exit", json={"code": 3})
        assert await process.wait() == 3


async def test_a_taken_port_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with started("--port", str(port)) as process:
            _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode().startswith(f"headway engine: cannot listen on 127.0.0.1:{port}: ")
    assert errors.count(b"\n") == 1


async def test_a_wrong_setting_is_one_line() -> None:
    async with started("--dilation", "0") as process:
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode() == ("headway engine: --dilation: must be a number above 0, got 0.0\n")
