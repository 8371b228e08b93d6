"""Child processes that end with the demo, however it ends.

Each is the leader of its own process group, so a terminal's Ctrl-C reaches only the demo, which
then ends the groups.  On Linux the kernel also kills them should the demo itself be killed.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from headway_cli.demo.errors import ChildDied, ChildNotReady
from headway_cli.dying_with_parent import dying_with_parent

START_TIMEOUT_S = 180.0
"""On two loaded cores an engine needs some 5 s to import its packages."""
STOP_TIMEOUT_S = 5.0
POLL_S = 0.05

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Child:
    name: str
    process: asyncio.subprocess.Process
    output: Path
    """Its standard output."""
    log: Path
    """Its standard error."""
    command: tuple[str, ...] = ()

    def last_words(self, lines: int = 5) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Children:
    """Processes of one run; leaving the block ends them all.

    Raises:
        ChildDied: from ``watch``, if one of them ends before.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._environment = dict(os.environ if environment is None else environment)
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for child in self._children:
            _signal_group(child, signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                for child in self._children:
                    await child.process.wait()
        except TimeoutError:
            pass
        finally:
            for child in self._children:
                _signal_group(child, signal.SIGKILL)
        for child in self._children:
            await child.process.wait()

    async def start(self, name: str, command: Sequence[str]) -> Child:
        output, log = self._folder / f"{name}.out", self._folder / f"{name}.log"
        with output.open("wb") as out, log.open("wb") as err:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self._environment,
                process_group=0,
                preexec_fn=dying_with_parent(signal.SIGKILL),
            )
        child = Child(name, process, output, log, tuple(command))
        self._children.append(child)
        return child

    async def watch(self) -> None:
        """Runs until a child ends, which is an error."""
        async with asyncio.TaskGroup() as group:
            for child in self._children:
                group.create_task(_fail_when_gone(child))


async def ready_line(child: Child) -> str:
    """The first line that the child writes to its standard output.

    Raises:
        ChildNotReady: there is none in time.
        ChildDied: the child ended instead.
    """
    [line] = await ready_lines(child, 1)
    return line


async def ready_lines(child: Child, count: int) -> list[str]:
    """The first lines; raises as ``ready_line``."""

    async def first_lines() -> list[str] | None:
        *lines, _ = child.output.read_text(errors="replace").split("\n")
        return lines[:count] if len(lines) >= count else None

    return await until(child, first_lines)


async def until(child: Child, answer: Callable[[], Awaitable[Found | None]]) -> Found:
    """Asks again and again until there is an answer, or the child has ended.

    Raises:
        ChildNotReady: there is none in time.
        ChildDied: the child ended instead.
    """
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while (found := await answer()) is None:
                if child.process.returncode is not None:
                    raise ChildDied(child.name, child.process.returncode, child.last_words())
                await asyncio.sleep(POLL_S)
            return found
    except TimeoutError:
        raise ChildNotReady(child.name, START_TIMEOUT_S, child.last_words()) from None


async def _fail_when_gone(child: Child) -> None:
    code = await child.process.wait()
    raise ChildDied(child.name, code, child.last_words())


def _signal_group(child: Child, number: signal.Signals) -> None:
    """Also when the leader has ended: its own children may still live."""
    with suppress(ProcessLookupError):
        os.killpg(child.process.pid, number)
