"""Children end when their block does, whatever they think of it."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from headway_cli.demo import processes
from headway_cli.demo.errors import ChildDied, ChildNotReady
from headway_cli.demo.processes import Child, Children, ready_line, until

pytestmark = pytest.mark.slow

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True)"
WITH_A_CHILD = "import os, time; pid = os.fork(); pid and print(pid, flush=True); time.sleep(600)"


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return False


async def test_a_child_that_ignores_the_first_signal_gets_the_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_TIMEOUT_S", 0.2)
    async with Children(tmp_path) as children:
        child = await children.start("stubborn", python(f"{STUBBORN}; time.sleep(600)"))
        await ready_line(child)
    assert child.process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_children_of_children_end_too(tmp_path: Path) -> None:
    async with Children(tmp_path) as children:
        child = await children.start("parent", python(WITH_A_CHILD))
        grandchild = int(await ready_line(child))
        assert is_alive(grandchild)
    await until_true(lambda: not is_alive(grandchild))


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
async def test_children_end_with_a_demo_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys, pathlib\n"
        "from headway_cli.demo.processes import Children\n"
        "async def main():\n"
        f"    async with Children(pathlib.Path({str(tmp_path)!r})) as children:\n"
        "        child = await children.start('c', [sys.executable, '-c', 'import time;"
        " time.sleep(600)'])\n"
        "        print(child.process.pid, flush=True)\n"
        "        await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    async with Children(tmp_path) as children:
        demo = await children.start("demo", python(program))
        grandchild = int(await ready_line(demo))
        demo.process.kill()
        await demo.process.wait()
        await until_true(lambda: not is_alive(grandchild))


async def test_a_child_that_ends_early_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    async with Children(tmp_path) as children:
        await children.start("steady", python("import time; time.sleep(600)"))
        await children.start("short", python("import sys; sys.exit('no more memory')"))
        with pytest.raises(ExceptionGroup) as raised:
            await children.watch()
    (error,) = raised.value.exceptions
    assert isinstance(error, ChildDied)
    assert error.name == "short"
    assert "no more memory" in str(error)


async def test_waiting_for_a_child_that_has_ended_is_an_error(tmp_path: Path) -> None:
    async with Children(tmp_path) as children:
        child = await children.start("short", python("import sys; sys.exit('bad flag')"))
        with pytest.raises(ChildDied, match="bad flag"):
            await ready_line(child)


async def test_waiting_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "START_TIMEOUT_S", 0.2)
    async with Children(tmp_path) as children:
        child = await children.start("silent", python("import time; time.sleep(600)"))
        with pytest.raises(ChildNotReady, match="silent was not ready"):
            await until(child, nothing)


async def nothing() -> None:
    return None


async def until_true(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  # nobody tells when a process is gone
            await asyncio.sleep(0.02)


def test_the_last_words_are_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"{number}\n" for number in range(100)))
    child = Child("c", None, tmp_path / "out", log)  # type: ignore[arg-type]  # no process needed
    assert child.last_words(2) == "98\n99"
