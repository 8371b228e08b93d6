"""What the operator asks of the API server and tells it."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from headway_operator.discovery.store import Kind
from headway_operator.elector import LeaseRecord, LeaseTaken
from headway_operator.errors import ClusterUnavailable, InvalidSpec
from headway_operator.model_pool.plan import PoolEvent
from headway_operator.names import MANAGER, POOL, Manifest, PoolKey, selector
from headway_operator.rest import WRITE_TIMEOUT_S, Answer, ApiServer, unavailable

log = logging.getLogger("headway_operator")


SAY_AGAIN_S = 600.0
"""Of the same about the same pool: two that fight over a field would fill the cluster with it."""

POOLS = "apis/headway.dev/v1alpha1/{}modelpools"
_PATHS = {
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "PodDisruptionBudget": "apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "ModelPool": "apis/headway.dev/v1alpha1/namespaces/{}/modelpools",
    "RoutingPolicy": "apis/headway.dev/v1alpha1/namespaces/{}/routingpolicies",
}
_EVERY = {
    Kind.POOL: ("headway.dev/v1alpha1", "apis/headway.dev/v1alpha1/{}modelpools"),
    Kind.POLICY: ("headway.dev/v1alpha1", "apis/headway.dev/v1alpha1/{}routingpolicies"),
    Kind.POD: ("v1", "api/v1/{}pods"),
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
        self._api = ApiServer(kubeconfig, may_write)
        self._identity = identity
        self._said: dict[tuple[str, PoolEvent], float] = {}

    def close(self) -> None:
        self._api.close()

    async def idle(self) -> None:
        """Returns when no write is on its way any more."""
        await self._api.idle()

    async def keys(self, namespace: str | None) -> list[PoolKey]:
        """Every pool there is."""
        path = POOLS.format(f"namespaces/{namespace}/" if namespace else "")
        items = await self._api.list(path)
        return [PoolKey(i["metadata"]["namespace"], i["metadata"]["name"]) for i in items]

    async def every(self, kind: Kind, namespace: str | None) -> list[Manifest]:
        """Of pods, those of Deployment groups."""
        version, path = _EVERY[kind]
        query = {"labelSelector": POOL} if kind is Kind.POD else {}
        items = await self._api.list(
            path.format(f"namespaces/{namespace}/" if namespace else ""), **query
        )
        return [{"apiVersion": version, "kind": kind.value, **item} for item in items]

    async def pool(self, key: PoolKey) -> Manifest | None:
        return await self._api.get(f"{_PATHS['ModelPool'].format(key.namespace)}/{key.name}")

    async def children(self, key: PoolKey) -> list[Manifest]:
        found = []
        for kind, version in _API_VERSIONS.items():
            path = _PATHS[kind].format(key.namespace)
            items = await self._api.list(path, labelSelector=selector(key.name))
            found += [{"apiVersion": version, "kind": kind, **item} for item in items]
        return found

    async def child(self, kind: str, namespace: str, name: str) -> Manifest | None:
        return await self._api.get(f"{_PATHS[kind].format(namespace)}/{name}")

    async def pods(self, namespace: str, labels: dict[str, str]) -> list[Manifest]:
        wanted = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        return await self._api.list(f"api/v1/namespaces/{namespace}/pods", labelSelector=wanted)

    async def apply(self, manifest: Manifest, manager: str) -> Manifest:
        metadata = manifest["metadata"]
        path = f"{_PATHS[manifest['kind']].format(metadata['namespace'])}/{metadata['name']}"
        what = f"{manifest['kind']} {metadata['name']}"
        try:
            live = await self._api.apply(path, manifest, manager)
        except Answer as answer:
            if answer.code in (400, 422) or _UNTYPED in answer.message:
                raise InvalidSpec("", f"the API server refuses it: {answer.message}") from answer
            raise unavailable(answer, what) from answer
        log.info("cluster.applied", extra={"object": what, "manager": manager})
        return live

    async def apply_status(self, body: Manifest, status: Manifest, manager: str = MANAGER) -> None:
        metadata = {key: body["metadata"][key] for key in ("name", "namespace", "uid")}
        manifest = {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "metadata": metadata,
            "status": status,
        }
        path = f"{_PATHS[body['kind']].format(metadata['namespace'])}/{metadata['name']}/status"
        try:
            await self._api.apply(path, manifest, manager)
        except Answer as answer:
            if answer.code not in (404, 409):  # gone, or another of the same name
                raise unavailable(answer, f"status of {metadata['name']}") from answer

    async def delete(self, live: Manifest) -> None:
        metadata = live["metadata"]
        path = f"{_PATHS[live['kind']].format(metadata['namespace'])}/{metadata['name']}"
        body = {"preconditions": {"uid": metadata["uid"]}, "propagationPolicy": "Background"}
        try:
            await self._api.write("DELETE", path, body)
        except Answer as answer:
            if answer.code not in (404, 409):
                raise unavailable(answer, f"{live['kind']} {metadata['name']}") from answer

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
            await self._api.write("POST", _EVENTS.format(metadata["namespace"]), content)
        except (Answer, ClusterUnavailable):
            log.warning("event.lost", extra={"reason": event.reason}, exc_info=True)

    async def lease(self, namespace: str, name: str) -> LeaseRecord | None:
        found = await self._api.get(f"{_LEASES.format(namespace)}/{name}")
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
            answer = await self._api.send(method, path, body, timeout_s=WRITE_TIMEOUT_S)
        except Answer as refused:
            if refused.code == 409:
                raise LeaseTaken from refused
            raise unavailable(refused, f"lease {namespace}/{name}") from refused
        return str(answer["metadata"]["resourceVersion"])


def _micro_time(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
