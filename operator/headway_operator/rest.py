"""Requests to the API server: paths, bodies, answers.  The only importer of its client."""

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import kubernetes.client
import kubernetes.config
import urllib3

from headway_operator.errors import ClusterUnavailable, InvalidSettings, NotLeading
from headway_operator.names import Manifest

THREADS = 16
READ_TIMEOUT_S = (5.0, 30.0)
WRITE_TIMEOUT_S = (1.5, 3.0)
"""To connect, to answer.  A write that begins before the lease is given up ends before the next
leader may begin (``elector``)."""


class Answer(Exception):
    """Any answer but success."""

    def __init__(self, code: int, message: str, retry_after_s: float | None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


class ApiServer:
    """The client blocks, so each request has a thread.  All raise ClusterUnavailable."""

    def __init__(self, kubeconfig: Path | None, may_write: Callable[[], bool]) -> None:
        """Raises: InvalidSettings."""
        self._client = client(kubeconfig)
        self._may_write = may_write
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="kubernetes")
        self._writes: set[Future[Manifest]] = set()

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    async def idle(self) -> None:
        """Returns when no write is on its way any more: their threads outlive a cancelled task."""
        if on_their_way := [asyncio.wrap_future(write) for write in self._writes]:
            await asyncio.wait(on_their_way, timeout=sum(WRITE_TIMEOUT_S))

    async def get(self, path: str) -> Manifest | None:
        """None: there is nothing."""
        try:
            return await self.send("GET", path)
        except Answer as answer:
            if answer.code == 404:
                return None
            raise unavailable(answer, path) from answer

    async def list(self, path: str, **query: str) -> list[Manifest]:
        items: list[Manifest] = []
        more = ""
        while True:
            pages = {"limit": "500", **query, **({"continue": more} if more else {})}
            try:
                page = await self.send("GET", f"{path}?{urlencode(pages)}")
            except Answer as answer:
                raise unavailable(answer, path) from answer
            items += page["items"]
            more = page["metadata"].get("continue", "")
            if not more:
                return items

    async def apply(self, path: str, manifest: Manifest, manager: str) -> Manifest:
        """Server-side, by force.  Raises: Answer, NotLeading."""
        query = urlencode({"fieldManager": manager, "force": "true"})
        kind = "application/apply-patch+yaml"
        return await self.write("PATCH", f"{path}?{query}", manifest, kind=kind)

    async def write(
        self, method: str, path: str, body: Manifest, *, kind: str = "application/json"
    ) -> Manifest:
        """Raises: Answer, NotLeading."""

        def guarded() -> Manifest:
            if not self._may_write():  # as late as can be: the process may have been stopped
                raise NotLeading("the lease may be another's")
            return call(self._client, method, path, body, kind, WRITE_TIMEOUT_S)

        write = self._threads.submit(guarded)
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)
        return await asyncio.wrap_future(write)

    async def send(
        self,
        method: str,
        path: str,
        body: Manifest | None = None,
        *,
        timeout_s: tuple[float, float] = READ_TIMEOUT_S,
    ) -> Manifest:
        """Whoever leads.  Raises: Answer."""
        ask = partial(call, self._client, method, path, body, "application/json", timeout_s)
        return await asyncio.get_running_loop().run_in_executor(self._threads, ask)


def client(kubeconfig: Path | None) -> Any:
    """None: the service account of the pod.  Raises: InvalidSettings."""
    configuration = kubernetes.client.Configuration()
    try:
        if kubeconfig is None:
            kubernetes.config.load_incluster_config(  # type: ignore[no-untyped-call]  # its package left it so
                client_configuration=configuration
            )
        else:
            kubernetes.config.load_kube_config(  # type: ignore[no-untyped-call]  # likewise
                config_file=str(kubeconfig), client_configuration=configuration
            )
    except kubernetes.config.ConfigException as error:
        raise InvalidSettings(f"no way to the API server: {error}") from error
    configuration.connection_pool_maxsize = 2 * THREADS
    configuration.retries = False
    return kubernetes.client.ApiClient(configuration)


def call(
    client: Any, method: str, path: str, body: Any, kind: str, timeout_s: tuple[float, float]
) -> Manifest:
    """Blocks.  ``kind`` is the body's; ``timeout_s`` to connect and to answer.

    Raises: Answer, ClusterUnavailable.
    """
    parameters = client.param_serialize(
        method,
        f"/{path}",
        header_params={"Accept": "application/json", "Content-Type": kind},
        body=body,
        auth_settings=["BearerToken"],
    )
    try:
        answer = client.call_api(*parameters, _request_timeout=timeout_s)
        content = answer.read()
    except urllib3.exceptions.HTTPError as error:
        raise ClusterUnavailable(f"{method} /{path}: {error}") from error
    if not 200 <= answer.status < 300:
        raise Answer(answer.status, _message(content), _retry_after_s(answer.headers))
    found: Manifest = json.loads(content)
    return found


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace")[:500]


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    try:
        return float(headers["Retry-After"])
    except (KeyError, ValueError):
        return None


def unavailable(answer: Answer, what: str) -> ClusterUnavailable:
    return ClusterUnavailable(f"{what}: {answer}", retry_after_s=answer.retry_after_s)
