"""One pass over a pool: observe, plan, apply, say how it is.  Safe to repeat."""

import logging
from collections.abc import Callable

from headway_api.workload import Workload
from headway_operator.cluster import Cluster
from headway_operator.errors import InvalidSpec
from headway_operator.model_pool.drift import differences
from headway_operator.model_pool.observed import Observed, read
from headway_operator.model_pool.plan import NOTE_LIMIT, Plan, PoolEvent, plan, stalled
from headway_operator.names import POLICY_AFFECTED, PROGRAMMED, Manifest, PoolKey, child

log = logging.getLogger("headway_operator")

EXTERNAL_POLL_S = 15.0
"""Pods of others are not watched: any pod of the namespace could be one."""

Clock = Callable[[], float]


async def reconcile(key: PoolKey, cluster: Cluster, now: Clock) -> float | None:
    """Seconds until the pool wants another look.  None: when something changes.

    Raises: ClusterUnavailable, NotLeading.
    """
    body = await cluster.pool(key)
    if body is None or "deletionTimestamp" in body["metadata"]:
        return None  # the garbage collector ends what the pool owned
    requeue_s = None
    try:
        observed = await _observe(cluster, key, body)
        if observed.pods:
            requeue_s = EXTERNAL_POLL_S
        planned = plan(observed, now())
        events = [*planned.events, *await _carry_out(cluster, planned)]
    except InvalidSpec as error:
        planned = stalled(body, error, now())
        events = list(planned.events)
    status = planned.status.model_dump(mode="json", exclude_none=True)
    if status != _own_part(body):
        await cluster.apply_status(body, status)
    for event in events:
        log.info("pool.event", extra={"pool": str(key), "reason": event.reason, "note": event.note})
        await cluster.emit(body, event, now())
    return requeue_s


def _own_part(body: Manifest) -> Manifest | None:
    """Of the live status, what this loop writes; the rest is about routers."""
    if (status := body.get("status")) is None:
        return None
    foreign = (POLICY_AFFECTED, PROGRAMMED)
    conditions = [c for c in status.get("conditions", ()) if c["type"] not in foreign]
    rest = {key: value for key, value in status.items() if key not in ("conditions", "traffic")}
    return {**rest, "conditions": conditions}


async def _observe(cluster: Cluster, key: PoolKey, body: Manifest) -> Observed:
    pool = read(body)
    children = await cluster.children(key)
    known = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in children}
    pods = {}
    for group in pool.spec.groups:
        name = child(key.name, group.name)
        if group.is_deployed:
            for kind in ("Deployment", "PodDisruptionBudget"):
                if (kind, name) not in known:
                    found = await cluster.child(kind, key.namespace, name)
                    children += [] if found is None else [found]
        elif group.workload is Workload.EXTERNAL and group.selector is not None:
            pods[group.name] = tuple(await cluster.pods(key.namespace, group.selector))
    return Observed(body=body, pool=pool, children=tuple(children), pods=pods)


async def _carry_out(cluster: Cluster, planned: Plan) -> list[PoolEvent]:
    """Events of what somebody had changed and is as it was again."""
    events = []
    for apply in planned.applies:
        live = await cluster.apply(apply.manifest, apply.manager)
        left = set(differences(apply.manifest, live)) if apply.reverts else set()
        if reverted := sorted(set(apply.reverts) - left):
            metadata = apply.manifest["metadata"]
            note = f"{apply.manifest['kind']} {metadata['name']}: {', '.join(reverted)}"
            events.append(PoolEvent("Warning", "EditReverted", note[:NOTE_LIMIT]))
    for live in planned.deletions:
        await cluster.delete(live)
    return events
