"""CPU per request of the complete router behind a real Envoy, against an empty gRPC server.

Both run in the same minute behind the same Envoy configuration; the engine is another listener of
that Envoy, which answers at once.  The router is complete: policy, metrics, scrapes, default logs.
"""

import asyncio
import io
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import aiohttp
import orjson

from benchmarks.bodies import chats
from benchmarks.engines import engines
from benchmarks.machine import cpu_s, rss_mib
from headway_cli.demo.fleet import headway
from headway_cli.demo.gateway import Envoy, start_envoy
from headway_cli.demo.processes import Children, ready_line
from headway_cli.demo.programs import RouterProcess, ready_routers
from headway_router.envoy import BodyMode, Gateway, RouterTls, UpstreamPool, bootstrap

SIZES = {"2 kB": 2_000, "20 kB": 20_000, "220 kB": 220_000}
REQUESTS = {"2 kB": 4_000, "20 kB": 3_000, "220 kB": 1_000}
ROUNDS = 3
"""The servers take turns; the median round is shown."""
CONCURRENCY = 32
ENDPOINTS = 8
MODEL = "bench"
EMPTY = {"grpc-aio": "", "grpc-aio-uvloop": " uvloop", "h2": " h2"}
TRANSPORTS = {"grpc-aio": "", "h2": " h2"}
"""Of the empty servers, the first of them the reference, and of the router; and what they add to
the name."""
PROCESSES = 2
"""Of the last server, whose figures are their sum."""
WARM_UP_REQUESTS = 200


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    pids: tuple[int, ...]
    addresses: tuple[str, ...]
    speaks_tls: bool = False

    def cpu_s(self) -> float:
        return sum(map(cpu_s, self.pids))

    def rss_mib(self) -> float:
        return sum(map(rss_mib, self.pids))


async def measure(*, quick: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    print(f"CPU per request behind Envoy, {CONCURRENCY} in flight, {ENDPOINTS} endpoints")
    heading = f"{'body':>7} {'mode':<21} {'server':<14} {'CPU us':>7} {'x empty':>8} {'req/s':>7}"
    print(heading + f" {'RSS MiB':>8}")
    with TemporaryDirectory(prefix="headway-bench-") as name:
        folder = Path(name)
        port = _free_port()
        addresses = [f"127.0.0.{n + 1}:{port}" for n in range(ENDPOINTS)]
        async with Children(folder) as children:
            servers = await _servers(children, folder, addresses)
            for mode in BodyMode:
                rows += await _in_mode(folder, mode, servers, addresses, quick)
    print()
    return rows


async def _in_mode(
    folder: Path, mode: BodyMode, servers: Sequence[Server], addresses: Sequence[str], quick: bool
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for size in SIZES:
        requests = REQUESTS[size] // (10 if quick else 1)
        arms = _arms(servers, mode)
        measured: dict[tuple[Server, bool], list[dict[str, float]]] = {arm: [] for arm in arms}
        for _ in range(1 if quick else ROUNDS):
            for server, tap in arms:
                async with _behind_envoy(folder, mode, server, addresses, tap=tap) as envoy:
                    row = await _load(envoy, server, SIZES[size], requests)
                measured[server, tap].append(row)
        empty_us: float | None = None
        for server, tap in arms:
            rounds = sorted(measured[server, tap], key=lambda row: row["cpu_us"])
            row = rounds[len(rounds) // 2]
            label = f"{server.name} + tap" if tap else server.name
            empty_us = empty_us or row["cpu_us"]
            row["times_empty"] = row["cpu_us"] / empty_us
            rows.append({"body": size, "mode": mode.value, "server": label} | row)
            print(
                f"{size:>7} {mode.value:<21} {label:<14} {row['cpu_us']:>7.0f}"
                f" {row['times_empty']:>8.2f} {row['requests_per_s']:>7.0f}"
                f" {row['rss_mib']:>8.0f}",
                flush=True,
            )
    return rows


def _arms(servers: Sequence[Server], mode: BodyMode) -> list[tuple[Server, bool]]:
    arms = [(server, False) for server in servers]
    if mode is not BodyMode.BUFFERED:
        return arms
    fastest = next(server for server in servers if server.name == "headway h2")
    return [*arms, (fastest, True)]


async def _servers(children: Children, folder: Path, addresses: Sequence[str]) -> list[Server]:
    """The empty ones, then the router on either transport, then by TLS, then several processes."""
    servers = []
    for transport, name in EMPTY.items():
        command = [sys.executable, "-m", "benchmarks.empty_server", addresses[0], transport]
        empty = await children.start(f"empty-{transport}", command)
        address = f"127.0.0.1:{await ready_line(empty)}"
        servers.append(Server(f"empty{name}", (empty.process.pid,), (address,)))
    config = folder / "config"
    config.mkdir()
    endpoints = [
        {"name": f"e{i}", "address": a.partition(":")[0], "port": int(a.partition(":")[2])}
        for i, a in enumerate(addresses)
    ]
    pool = {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "ModelPool",
        "metadata": {"name": "bench"},
        "spec": {
            "model": {"name": MODEL},
            "groups": [
                {
                    "name": "all",
                    "workload": "Static",
                    "endpoints": endpoints,
                    # As fast as that listener: nothing is held, a request is decided and sent.
                    "capacity": {"prefillTokensPerSecond": 100_000_000},
                }
            ],
            "slo": {"ttftMs": 5000},
        },
    }
    # JSON is YAML.
    (config / "pool.yaml").write_bytes(orjson.dumps(pool))
    for transport, name in TRANSPORTS.items():
        servers.append(await _headway(children, config, name, transport))
    servers.append(await _headway(children, config, " h2 TLS", "h2", secure_serving=True))
    name = f" h2 x{PROCESSES}"
    return [*servers, await _headway(children, config, name, "h2", processes=PROCESSES)]


async def _headway(
    children: Children,
    config: Path,
    name: str,
    transport: str,
    *,
    processes: int = 1,
    secure_serving: bool = False,
) -> Server:
    free = dict.fromkeys(("grpc_port", "grpc_health_port", "metrics_port", "debug_port"), 0)
    values = {"config": config, **free, "transport": transport}
    values |= {"processes": processes, "secure_serving": secure_serving}
    child = await children.start(f"router{name}", headway("router", **values))
    routers = await ready_routers(child, processes)
    pids = tuple([await _pid(router) for router in routers])
    addresses = tuple(router.ext_proc_address for router in routers)
    return Server(f"headway{name}", pids, addresses, secure_serving)


async def _pid(router: RouterProcess) -> int:
    """Of the process itself: the one that was started may be the parent of several."""
    async with aiohttp.ClientSession() as session, session.get(router.debug_url) as response:
        pid: int = (await response.json())["process"]["pid"]
        return pid


@asynccontextmanager
async def _behind_envoy(
    folder: Path, mode: BodyMode, server: Server, addresses: Sequence[str], *, tap: bool
) -> AsyncIterator[Envoy]:
    """A fresh Envoy in front of one server; its own second listener plays the engines."""
    gateway = Gateway(
        pools=(UpstreamPool(name="default/bench", endpoints=tuple(addresses)),),
        routers=server.addresses,
        router_tls=RouterTls() if server.speaks_tls else None,
        body_mode=mode,
        first_token_tap=tap,
    )
    config = bootstrap(gateway)
    port = int(addresses[0].rpartition(":")[2])
    config["static_resources"]["listeners"].append(engines(port))
    with TemporaryDirectory(
        dir=folder
    ) as own:  # Each Envoy tells its address in a file of its own.
        async with Children(Path(own)) as children:
            yield await start_envoy(children, Path(own), config)


async def _load(envoy: Envoy, server: Server, size: int, requests: int) -> dict[str, float]:
    bodies = chats(size, MODEL)
    url = f"{envoy.url}/v1/chat/completions"
    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with aiohttp.ClientSession(connector=connector) as session:
        await _send(session, url, bodies, WARM_UP_REQUESTS)
        cpu_before, started = server.cpu_s(), perf_counter()
        await _send(session, url, bodies, requests)
        wall_s = perf_counter() - started
        used_s = server.cpu_s() - cpu_before
    return {
        "requests": requests,
        "cpu_us": 1e6 * used_s / requests,
        "requests_per_s": requests / wall_s,
        "rss_mib": server.rss_mib(),
    }


async def _send(
    session: aiohttp.ClientSession, url: str, bodies: Sequence[bytes], count: int
) -> None:
    """Raises: aiohttp.ClientResponseError: a request was not answered with 200."""
    remaining = iter(range(count))

    async def client() -> None:
        for i in remaining:
            data = io.BytesIO(bodies[i % len(bodies)])
            headers = {"content-type": "application/json"}
            async with session.post(url, data=data, headers=headers) as response:
                response.raise_for_status()
                await response.read()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(client())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
