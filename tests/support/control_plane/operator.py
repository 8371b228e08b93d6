"""An operator process against the control plane of the tests."""

import json
import sys
from pathlib import Path
from typing import Any

from control_plane.api import until
from control_plane.plane import OPERATOR, ControlPlane
from engine_contract.process import EngineProcess


class OperatorProcess:
    """``headway operator`` with no rights but its own; what it logs tells how far it is."""

    def __init__(
        self,
        plane: ControlPlane,
        folder: Path,
        *arguments: str,
        discovery_port: int = 0,
        user: Path | None = None,
    ) -> None:
        """``user``: kubeconfig of another than the tests' own operator."""
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "operator.log"
        kubeconfig = str(user or plane.kubeconfig(OPERATOR))
        command = [sys.executable, "-m", "headway_cli", "operator", "--kubeconfig", kubeconfig]
        command += ["--log-level", "debug", "--discovery-insecure"]
        command += ["--discovery-port", str(discovery_port)]
        self.process = EngineProcess([*command, *arguments], port=0, log=self._log, environment={})

    def discovery_port(self) -> int:
        """Once it listens."""
        self.wait_for("discovery.listening")
        return int(self.logged("discovery.listening")[-1]["port"])

    def stop(self) -> None:
        self.process.stop()

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def logged(self, event: str, **fields: str) -> list[dict[str, Any]]:
        """Every line of the log that is this event, with these fields."""
        lines = []
        for line in self.log().splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(entry, dict) and {"message": event, **fields}.items() <= entry.items():
                lines.append(entry)
        return lines

    def wait_for(self, event: str, *, times: int = 1, **fields: str) -> None:
        """Until it was logged so often in all.  Raises: AssertionError, with the log's end."""

        def seen() -> bool:
            assert self.logged("pool.crashed") == []
            assert self.process.is_alive, f"the operator ended; {self.process.end_of_log()}"
            return len(self.logged(event, **fields)) >= times

        until(seen, f"{times} times {event} {fields}")

    def wait_for_looks(self, pool: str, number: int = 1) -> None:
        """Until it has looked at the pool so often from begin to end, from now on."""
        begun = 1  # the next one to end may have begun already
        done = len(self.logged("pool.reconciled", pool=pool))
        self.wait_for("pool.reconciled", times=done + begun + number, pool=pool)
