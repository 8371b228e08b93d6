"""``headway router --processes N``: starts N routers, passes signals on, ends when they have ended.

Each is ``headway router`` with ports of its own and knows nothing of the others.  If one dies, the
others drain and all end, instead of the one being started again here: a pod is restarted as a whole
by the kubelet, which backs off, counts and reports.  A restart in here would hide a crash loop, as
probes see the first process only, and would try a broken configuration for ever.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Mapping, Sequence
from subprocess import Popen

from headway_cli.dying_with_parent import dying_with_parent
from headway_router.settings import Settings

log = logging.getLogger("headway_router.processes")

OVERDUE_S = 15.0
"""Beyond its drain, for a process to end; then it is killed."""
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def run(settings: Settings, arguments: Sequence[str]) -> int:
    """Returns: the worst exit code; 128 + n of a process that signal n has ended."""
    processes = Processes(settings.drain_timeout_s + OVERDUE_S)
    loop = asyncio.get_running_loop()
    for one in _STOP_SIGNALS:
        loop.add_signal_handler(one, processes.pass_on, one)
    for number in range(settings.processes):
        processes.start(_command(arguments, settings.ports_of(number)))
    return await processes.ended()


def _command(arguments: Sequence[str], ports: Mapping[str, int]) -> list[str]:
    """The last of several equal flags counts, and a flag wins over its variable."""
    own = [f"--{name.replace('_', '-')}={value}" for name, value in ports.items()]
    return [sys.executable, "-m", "headway_cli", "router", *arguments, *own, "--processes=1"]


class Processes:
    """``overdue_s``: how long one may take to end after it was told to.

    Without a thread for each: as threads of a killed parent end one by one, the kernel would tell
    the children several times.
    """

    def __init__(self, overdue_s: float) -> None:
        self._overdue_s = overdue_s
        self._running: list[Popen[bytes]] = []
        self._stopped_by: signal.Signals | None = None
        self._one_has_died = False
        self._worst_code = 0

    def start(self, command: Sequence[str]) -> None:
        """In a process group of its own, as a terminal's Ctrl-C would reach it twice."""
        prepare = dying_with_parent(signal.SIGTERM)
        self._running.append(Popen(command, process_group=0, preexec_fn=prepare))

    def pass_on(self, received: signal.Signals) -> None:
        """To every process; a second signal ends them at once, as it does without a parent."""
        if self._stopped_by is None:
            self._stopped_by = received
            asyncio.get_running_loop().call_later(self._overdue_s, self._kill)
        for process in self._running:
            process.send_signal(received)

    async def ended(self) -> int:
        """Waits for all.  Returns: the worst exit code."""
        loop, has_news = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGCHLD, has_news.set)
        try:
            while self._running:
                self._reap()
                if self._running:
                    await has_news.wait()
                    has_news.clear()
        finally:
            loop.remove_signal_handler(signal.SIGCHLD)
        return self._worst_code

    def _reap(self) -> None:
        ended = [process for process in self._running if process.poll() is not None]
        self._running = [process for process in self._running if process not in ended]
        for process in ended:
            code = process.returncode
            if self._stopped_by is None:
                self._one_has_died = True
                extra = {"pid_of_process": process.pid, "exit_code": code}
                log.error("router.process_died", extra=extra)
                self.pass_on(signal.SIGTERM)
            elif self._one_has_died and code == -signal.SIGTERM:
                continue  # It was still starting when it was told to end: no failure of its own.
            self._worst_code = max(self._worst_code, code if code >= 0 else 128 - code)

    def _kill(self) -> None:
        for process in self._running:
            log.error("router.process_overdue", extra={"pid_of_process": process.pid})
            process.kill()
