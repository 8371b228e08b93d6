"""Pods that run one command to its end, as those of ``helm test`` do."""

import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from control_plane.api import Api

LIMIT_S = 120.0
LOOK_S = 0.1


class HookPods:
    """From ``with`` to its end, runs the ``headway`` command of each pod with the labels.

    ``hosts`` says what answers here instead of a Service's ``host:port``.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        selector: str,
        hosts: Mapping[str, str],
        extra: Sequence[str] = (),
    ) -> None:
        self._api = api
        self._pods = f"api/v1/namespaces/{namespace}/pods"
        self._selector = selector
        self._hosts = hosts
        self._extra = list(extra)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hook pods")
        self.outputs: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        done = set()
        while not self._stopped.wait(LOOK_S):
            listed = self._api.call("GET", f"{self._pods}?labelSelector={self._selector}")
            for pod in listed["items"]:
                if pod["metadata"]["uid"] not in done:
                    done.add(pod["metadata"]["uid"])
                    self._perform(pod)

    def _perform(self, pod: dict[str, Any]) -> None:
        [container] = pod["spec"]["containers"]
        arguments = [*container["args"], *self._extra]
        for service, here in self._hosts.items():
            arguments = [word.replace(service, here) for word in arguments]
        ended = subprocess.run(
            [sys.executable, "-m", "headway_cli", *arguments],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        self.outputs.append(ended.stdout + ended.stderr)
        state = {"terminated": {"exitCode": ended.returncode}}
        said = {
            "phase": "Failed" if ended.returncode else "Succeeded",
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": state,
                }
            ],
        }
        path = f"{self._pods}/{pod['metadata']['name']}/status"
        self._api.call("PATCH", path, {"status": said}, kind="application/merge-patch+json")
