"""From pods to the endpoints of a pool.  Pure."""

from collections.abc import Callable, Iterator, Sequence

from headway_api import ModelPool
from headway_api.snapshots import PodEndpoint, PodState
from headway_api.workload import Workload
from headway_operator.names import DRAIN, GROUP, POOL, Manifest


def endpoints_of(
    pool: ModelPool,
    pool_uid: str,
    pods: Sequence[Manifest],
    others: Callable[[str, str], Sequence[Manifest]],
) -> Iterator[PodEndpoint]:
    """``pods``: of all Deployment groups of all pools; ``others``: of an External group."""
    own = [pod for pod in pods if _labels(pod).get(POOL) == pool.metadata.name]
    own = [pod for pod in own if pod["metadata"]["namespace"] == pool.metadata.namespace]
    for group in pool.spec.groups:
        match group.workload:
            case Workload.DEPLOYMENT:
                found: Sequence[Manifest] = [p for p in own if _labels(p).get(GROUP) == group.name]
            case Workload.EXTERNAL:
                found = others(pool_uid, group.name)
            case Workload.STATIC:
                continue
        for pod in found:
            status = pod.get("status", {})
            if address := status.get("podIP"):
                if status.get("phase") in ("Succeeded", "Failed"):
                    continue
                yield PodEndpoint(
                    uid=pod["metadata"]["uid"],
                    pool_uid=pool_uid,
                    group=group.name,
                    name=pod["metadata"]["name"],
                    address=address,
                    port=pool.spec.engine.port,
                    state=_state(pod),
                )


def _state(pod: Manifest) -> PodState:
    metadata = pod["metadata"]
    if "deletionTimestamp" in metadata:
        return PodState.TERMINATING
    if DRAIN in (metadata.get("annotations") or {}):
        return PodState.DRAINING
    conditions = pod.get("status", {}).get("conditions") or ()
    is_ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return PodState.READY if is_ready else PodState.NOT_READY


def _labels(pod: Manifest) -> dict[str, str]:
    return pod["metadata"].get("labels") or {}
