"""One engine server as a process group of its own: started, watched until healthy, ended."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

HEALTHY_LIMIT_S = 900.0
"""A real vLLM needs 18 s of one core; two side by side on two busy cores took two minutes."""

STOP_LIMIT_S = 15.0

NOT_INHERITED = frozenset({"PYTHONHASHSEED", "PYTHONHOME", "PYTHONPATH"})
"""The first replaces the seed of vLLM's block hashes, the others mix two environments."""


class NotHealthy(Exception):
    """The server ended or did not answer in time: why, and the end of its log."""


def free_port() -> int:
    """A port of the loopback interface that is nobody else's while this process lives.

    A socket stays bound to it, which keeps the kernel from giving it away.  Who sets SO_REUSEADDR,
    as servers do, can listen on it all the same.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    port: int = holder.getsockname()[1]
    holder.detach()
    return port


class EngineProcess:
    """A running server.  Its children share its process group, by which all of them are ended."""

    def __init__(
        self, command: Sequence[str], *, port: int, log: Path, environment: Mapping[str, str]
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self._file: IO[bytes] = log.open("wb")
        inherited = {k: v for k, v in os.environ.items() if k not in NOT_INHERITED}
        self._process = subprocess.Popen(
            command,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            env={**inherited, **environment},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait_until_healthy(self) -> None:
        """Raises: NotHealthy."""
        deadline_s = time.monotonic() + HEALTHY_LIMIT_S
        while time.monotonic() < deadline_s:
            if not self.is_alive:
                raise NotHealthy(f"exit {self._process.returncode}, {self.end_of_log()}")
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=60):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise NotHealthy(f"not healthy after {HEALTHY_LIMIT_S:.0f} s, {self.end_of_log()}")

    def terminate(self) -> None:
        """Sends SIGTERM to the server alone, as Kubernetes does."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Without a word."""
        self._process.kill()
        self._process.wait(STOP_LIMIT_S)
        self.stop()

    def child(self, title: str) -> int:
        """Pid of the one process of this server whose title starts with ``title``.

        Raises: LookupError: if there is none, or several.
        """
        group = [pid for pid in _processes() if _group_of(pid) == self.pid]
        found = [pid for pid in group if _title(pid).startswith(title)]
        if len(found) != 1:
            raise LookupError(f"processes titled {title!r}: {found or 'none'}")
        return found[0]

    def wait_until_gone(self, limit_s: float) -> int:
        """The exit code.  Raises: subprocess.TimeoutExpired: if it still runs after the limit."""
        return self._process.wait(limit_s)

    def stop(self) -> None:
        """Ends the whole group: SIGTERM, then SIGKILL for what is left."""
        if self.is_alive:
            self.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.wait_until_gone(STOP_LIMIT_S)
        with suppress(ProcessLookupError):  # nothing is left of the group
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(STOP_LIMIT_S)
        self._file.close()

    def end_of_log(self) -> str:
        """For a message about a server that did not do what it should."""
        lines = self.log.read_text(errors="replace").splitlines()[-40:]
        return "its log ends with\n" + "\n".join(lines)


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode(errors="replace")
    except OSError:
        return ""
