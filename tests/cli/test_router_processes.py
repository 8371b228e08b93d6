"""The parent of several router processes."""

import asyncio
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest

from gateway_stack.stack import PATIENCE_S, eventually
from headway_cli.demo.fleet import flags, headway
from headway_cli.demo.processes import Child, Children
from headway_cli.demo.programs import RouterProcess, ready_routers
from headway_cli.router_processes import Processes

pytestmark = pytest.mark.slow

POOL = """\
apiVersion: headway.dev/v1alpha1
kind: ModelPool
metadata: {name: tiny}
spec:
  model: {name: tiny}
  groups:
    - {name: g, workload: Static, endpoints: [{name: a, address: 127.0.0.1, port: 9}]}
"""
PORTS = {"grpc_port": 0, "grpc_health_port": 0, "metrics_port": 0, "debug_port": 0}
RUNS_UNTIL_TOLD = "import time; time.sleep(1000)"
HEEDS_NOTHING = """
import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path({!r}).touch()
time.sleep(1000)
"""
ENDS_ONCE = """
import pathlib, time
while not pathlib.Path({!r}).exists():
    time.sleep(0.05)
"""


async def worst_of(
    *programs: str, overdue_s: float = PATIENCE_S, told: signal.Signals | None = None
) -> int:
    processes = Processes(overdue_s)
    for program in programs:
        processes.start([sys.executable, "-c", program])
    if told is not None:
        processes.pass_on(told)
    async with asyncio.timeout(PATIENCE_S):
        return await processes.ended()


@pytest.mark.parametrize(
    ("code", "worst"),
    [("raise SystemExit(2)", 2), ("import os; os.kill(os.getpid(), 9)", 137), ("", 0)],
)
async def test_one_that_ends_ends_the_others_and_its_code_is_the_result(
    code: str, worst: int
) -> None:
    assert await worst_of(RUNS_UNTIL_TOLD, code, RUNS_UNTIL_TOLD) == worst


async def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    deaf = str(tmp_path / "deaf")
    assert await worst_of(HEEDS_NOTHING.format(deaf), ENDS_ONCE.format(deaf), overdue_s=1) == 137


async def test_the_worst_code_counts_when_all_were_told_to_stop() -> None:
    assert await worst_of(RUNS_UNTIL_TOLD, RUNS_UNTIL_TOLD, told=signal.SIGTERM) == 143


async def started(children: Children, folder: Path, **own: object) -> list[RouterProcess]:
    child = await children.start("router", command(folder, **own))
    return await ready_routers(child, 2)


def command(folder: Path, **own: object) -> list[str]:
    (folder / "config").mkdir()
    (folder / "config" / "pool.yaml").write_text(POOL)
    given = PORTS | {"drain_notice_s": 0, "processes": 2} | own
    return [*headway("router", config=folder / "config"), *flags(**given)]


async def end_of(child: Child) -> int:
    async with asyncio.timeout(PATIENCE_S):
        return await child.process.wait()


async def pids(routers: Sequence[RouterProcess]) -> list[int]:
    found = []
    async with aiohttp.ClientSession() as session:
        for router in routers:
            async with session.get(router.debug_url) as response:
                found.append((await response.json())["process"]["pid"])
    return found


@pytest.mark.parametrize("one", [signal.SIGTERM, signal.SIGINT])
async def test_each_process_is_a_router_of_its_own_and_all_drain_on_a_signal(
    one: signal.Signals, tmp_path: Path
) -> None:
    async with Children(tmp_path) as children:
        routers = await started(children, tmp_path, drain_timeout_s=60)
        child = routers[0].child
        assert len({child.process.pid, *await pids(routers)}) == 3
        child.process.send_signal(one)
        assert await end_of(child) == 0
        assert child.log.read_text().count('"router.stopped"') == 2


async def test_ports_that_are_given_are_ten_apart(tmp_path: Path) -> None:
    first = two_free_ports()
    async with Children(tmp_path) as children:
        routers = await started(children, tmp_path, grpc_port=first)
    addresses = {router.ext_proc_address for router in routers}
    assert addresses == {f"127.0.0.1:{first}", f"127.0.0.1:{first + 10}"}


def two_free_ports() -> int:
    """The first of two, ten apart."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            try:
                other.bind(("127.0.0.1", port + 10))
            except (OSError, OverflowError):
                continue
            return port


async def test_a_port_that_is_taken_is_named_and_ends_all(tmp_path: Path) -> None:
    first = two_free_ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 10))
        taken.listen()
        async with Children(tmp_path) as children:
            child = await children.start("router", command(tmp_path, grpc_port=first))
            assert await end_of(child) == 2
    assert f"--grpc-port: cannot listen on 127.0.0.1:{first + 10}" in child.log.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells children of Linux only")
async def test_without_their_parent_the_processes_drain_and_end(tmp_path: Path) -> None:
    async with Children(tmp_path) as children:
        routers = await started(children, tmp_path, drain_timeout_s=60)
        children_pids = await pids(routers)
        child = routers[0].child
        child.process.kill()
        await end_of(child)

        async def all_have_ended() -> bool:
            return not any(map(is_alive, children_pids))

        await eventually(all_have_ended, "the processes end")
    assert child.log.read_text().count('"router.stopped"') == 2


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
