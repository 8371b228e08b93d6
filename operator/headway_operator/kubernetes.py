"""What the operator asks of the API server and tells it.  Blocking calls run in threads."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

from headway_operator.elector import LeaseRecord, LeaseTaken
from headway_operator.errors import ClusterUnavailable, InvalidSpec, NotLeading
from headway_operator.model_pool.plan import PoolEvent
from headway_operator.names import MANAGER, Manifest, PoolKey, selector
from headway_operator.rest import CONNECTIONS, Answer, call, client

log = logging.getLogger("headway_operator")

THREADS = CONNECTIONS // 2
READ_TIMEOUT_S = (5.0, 30.0)
WRITE_TIMEOUT_S = (1.5, 3.0)
"""To connect, to answer.  A write that begins before the lease is given up ends before the next
leader may begin (``elector``)."""

SAY_AGAIN_S = 600.0
"""Of the same about the same pool: two that fight over a field would fill the cluster with it."""

POOLS = "apis/headway.dev/v1alpha1/{}modelpools"
_PATHS = {
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "PodDisruptionBudget": "apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "ModelPool": "apis/headway.dev/v1alpha1/namespaces/{}/modelpools",
}
_API_VERSIONS = {"Deployment": "apps/v1", "PodDisruptionBudget": "policy/v1"}
_LEASES = "apis/coordination.k8s.io/v1/namespaces/{}/leases"
_EVENTS = "apis/events.k8s.io/v1/namespaces/{}/events"
_UNTYPED = "failed to create typed patch object"
"""A server-side apply of something that is no such object at all is answered with a 500."""


class KubernetesCluster:
    """Implements ``Cluster`` and the elector's ``Leases``."""

    def __init__(
        self, kubeconfig: Path | None, identity: str, may_write: Callable[[], bool]
    ) -> None:
        """Raises: InvalidSettings: there is no way to the API server."""
        self._client = client(kubeconfig)
        self._identity = identity
        self._may_write = may_write
        self._said: dict[tuple[str, PoolEvent], float] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="kubernetes")

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    async def keys(self, namespace: str | None) -> list[PoolKey]:
        """Every pool there is."""
        path = POOLS.format(f"namespaces/{namespace}/" if namespace else "")
        items = await self._list(path)
        return [PoolKey(i["metadata"]["namespace"], i["metadata"]["name"]) for i in items]

    async def pool(self, key: PoolKey) -> Manifest | None:
        return await self._get(f"{_PATHS['ModelPool'].format(key.namespace)}/{key.name}")

    async def children(self, key: PoolKey) -> list[Manifest]:
        found = []
        for kind, version in _API_VERSIONS.items():
            path = _PATHS[kind].format(key.namespace)
            items = await self._list(path, labelSelector=selector(key.name))
            found += [{"apiVersion": version, "kind": kind, **item} for item in items]
        return found

    async def child(self, kind: str, namespace: str, name: str) -> Manifest | None:
        return await self._get(f"{_PATHS[kind].format(namespace)}/{name}")

    async def pods(self, namespace: str, labels: dict[str, str]) -> list[Manifest]:
        wanted = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        return await self._list(f"api/v1/namespaces/{namespace}/pods", labelSelector=wanted)

    async def apply(self, manifest: Manifest, manager: str) -> Manifest:
        metadata = manifest["metadata"]
        path = f"{_PATHS[manifest['kind']].format(metadata['namespace'])}/{metadata['name']}"
        what = f"{manifest['kind']} {metadata['name']}"
        try:
            live = await self._apply(path, manifest, manager)
        except Answer as answer:
            if answer.code in (400, 422) or _UNTYPED in answer.message:
                raise InvalidSpec("", f"the API server refuses it: {answer.message}") from answer
            raise _unavailable(answer, what) from answer
        log.info("cluster.applied", extra={"object": what, "manager": manager})
        return live

    async def apply_status(self, body: Manifest, status: Manifest) -> None:
        metadata = {key: body["metadata"][key] for key in ("name", "namespace", "uid")}
        manifest = {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "metadata": metadata,
            "status": status,
        }
        path = f"{_PATHS['ModelPool'].format(metadata['namespace'])}/{metadata['name']}/status"
        try:
            await self._apply(path, manifest, MANAGER)
        except Answer as answer:
            if answer.code not in (404, 409):  # gone, or another of the same name
                raise _unavailable(answer, f"status of {metadata['name']}") from answer

    async def delete(self, live: Manifest) -> None:
        metadata = live["metadata"]
        path = f"{_PATHS[live['kind']].format(metadata['namespace'])}/{metadata['name']}"
        body = {"preconditions": {"uid": metadata["uid"]}, "propagationPolicy": "Background"}
        try:
            await self._write("DELETE", path, body)
        except Answer as answer:
            if answer.code not in (404, 409):
                raise _unavailable(answer, f"{live['kind']} {metadata['name']}") from answer

    async def emit(self, body: Manifest, event: PoolEvent, now: float) -> None:
        """One that cannot be written is lost: nothing depends on it."""
        metadata = body["metadata"]
        self._said = {key: at for key, at in self._said.items() if now - at < SAY_AGAIN_S}
        if (metadata["uid"], event) in self._said:
            return
        self._said[metadata["uid"], event] = now
        content = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{uuid4().hex[:16]}",
                "namespace": metadata["namespace"],
            },
            "type": event.type,
            "reason": event.reason,
            "note": event.note,
            "action": "Reconcile",
            "eventTime": _micro_time(now),
            "reportingController": "headway.dev/operator",
            "reportingInstance": self._identity,
            "regarding": {
                "apiVersion": body["apiVersion"],
                "kind": body["kind"],
                **{key: metadata[key] for key in ("name", "namespace", "uid")},
            },
        }
        try:
            await self._write("POST", _EVENTS.format(metadata["namespace"]), content)
        except (Answer, ClusterUnavailable):
            log.warning("event.lost", extra={"reason": event.reason}, exc_info=True)

    async def lease(self, namespace: str, name: str) -> LeaseRecord | None:
        found = await self._get(f"{_LEASES.format(namespace)}/{name}")
        if found is None:
            return None
        spec = found.get("spec", {})
        return LeaseRecord(
            holder=spec.get("holderIdentity") or "",
            transitions=spec.get("leaseTransitions") or 0,
            version=found["metadata"]["resourceVersion"],
        )

    async def put_lease(
        self, namespace: str, name: str, record: LeaseRecord, *, duration_s: int, now: float
    ) -> str:
        body: Manifest = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "holderIdentity": record.holder,
                "leaseDurationSeconds": duration_s,
                "leaseTransitions": record.transitions,
                "renewTime": _micro_time(now),
            },
        }
        path = _LEASES.format(namespace)
        method = "POST"
        if record.version is not None:
            body["metadata"]["resourceVersion"] = record.version
            path, method = f"{path}/{name}", "PUT"
        try:
            answer = await self._send(method, path, body, timeout_s=WRITE_TIMEOUT_S)
        except Answer as refused:
            if refused.code == 409:
                raise LeaseTaken from refused
            raise _unavailable(refused, f"lease {namespace}/{name}") from refused
        return str(answer["metadata"]["resourceVersion"])

    async def _get(self, path: str) -> Manifest | None:
        try:
            return await self._send("GET", path)
        except Answer as answer:
            if answer.code == 404:
                return None
            raise _unavailable(answer, path) from answer

    async def _list(self, path: str, **query: str) -> list[Manifest]:
        items: list[Manifest] = []
        more = ""
        while True:
            pages = {"limit": "500", **query, **({"continue": more} if more else {})}
            try:
                page = await self._send("GET", f"{path}?{urlencode(pages)}")
            except Answer as answer:
                raise _unavailable(answer, path) from answer
            items += page["items"]
            more = page["metadata"].get("continue", "")
            if not more:
                return items

    async def _apply(self, path: str, manifest: Manifest, manager: str) -> Manifest:
        query = urlencode({"fieldManager": manager, "force": "true"})
        kind = "application/apply-patch+yaml"
        return await self._write("PATCH", f"{path}?{query}", manifest, kind=kind)

    async def _write(
        self, method: str, path: str, body: Manifest, *, kind: str = "application/json"
    ) -> Manifest:
        return await self._send(
            method, path, body, kind=kind, timeout_s=WRITE_TIMEOUT_S, guard=self._may_write
        )

    async def _send(
        self,
        method: str,
        path: str,
        body: Manifest | None = None,
        *,
        kind: str = "application/json",
        timeout_s: tuple[float, float] = READ_TIMEOUT_S,
        guard: Callable[[], bool] = lambda: True,
    ) -> Manifest:
        def guarded() -> Manifest:
            if not guard():  # as late as can be: this process may have been stopped for a while
                raise NotLeading("the lease may be another's")
            return call(self._client, method, path, body, kind, timeout_s)

        return await asyncio.get_running_loop().run_in_executor(self._threads, guarded)


def _unavailable(answer: Answer, what: str) -> ClusterUnavailable:
    return ClusterUnavailable(f"{what}: {answer}", retry_after_s=answer.retry_after_s)


def _micro_time(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
