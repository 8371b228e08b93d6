"""What to do about a pool.  Pure: from what was observed to what is written."""

from collections.abc import Iterator
from dataclasses import dataclass

from headway_api.status import ConditionStatus, ModelPoolStatus
from headway_operator.errors import InvalidSpec
from headway_operator.model_pool.drift import differences, hash_of
from headway_operator.model_pool.observed import Observed
from headway_operator.model_pool.status import condition, stalled_status, status_of
from headway_operator.model_pool.workloads import wanted
from headway_operator.names import HANDOVER, MANAGER, Manifest, owner_uid

NOTE_LIMIT = 1024
"""Characters of an Event's note."""


@dataclass(frozen=True, slots=True)
class PoolEvent:
    type: str
    """``Normal`` or ``Warning``."""
    reason: str
    note: str


@dataclass(frozen=True, slots=True)
class Apply:
    """A server-side apply."""

    manifest: Manifest
    manager: str = MANAGER
    reverts: tuple[str, ...] = ()
    """Fields that were applied as they are here and that somebody has changed since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    applies: tuple[Apply, ...] = ()
    deletions: tuple[Manifest, ...] = ()
    """Children of groups that are no more."""
    status: ModelPoolStatus
    events: tuple[PoolEvent, ...] = ()


def plan(observed: Observed, now: float) -> Plan:
    """``now`` in seconds since the epoch.  Raises: InvalidSpec: nothing is to be changed."""
    manifests = list(wanted(observed.pool, observed.uid))
    for manifest in manifests:
        _refuse_foreign(observed, manifest)
    status = status_of(observed, now)
    events = [*_created(observed), *_stalled(observed.body, status)]
    if observed.pool.spec.paused:
        return Plan(status=status, events=tuple(events))
    return Plan(
        applies=tuple(a for manifest in manifests for a in _applies(observed, manifest)),
        deletions=tuple(_vanished(observed, manifests)),
        status=status,
        events=(*events, *_scaled(observed, manifests)),
    )


def stalled(body: Manifest, error: InvalidSpec, now: float) -> Plan:
    """Nothing is written but the status: children stay as they were when the spec was valid."""
    status = stalled_status(body, str(error), now)
    return Plan(status=status, events=tuple(_stalled(body, status)))


def _refuse_foreign(observed: Observed, manifest: Manifest) -> None:
    name = manifest["metadata"]["name"]
    live = observed.child(manifest["kind"], name)
    if live is not None and owner_uid(live) != observed.uid:
        what = f"{manifest['kind']} {name} is there already and not this pool's"
        raise InvalidSpec("spec.groups", f"{what}; rename the group")


def _applies(observed: Observed, manifest: Manifest) -> Iterator[Apply]:
    live = observed.child(manifest["kind"], manifest["metadata"]["name"])
    if live is None:
        yield Apply(manifest)
        return
    changed = tuple(differences(manifest, live))
    was_applied = hash_of(live) == hash_of(manifest)
    if was_applied and not changed:
        return
    if "replicas" not in manifest["spec"] and _owns_replicas(live):
        yield Apply(_replicas_only(live), HANDOVER)
    yield Apply(manifest, reverts=changed if was_applied else ())


def _owns_replicas(live: Manifest) -> bool:
    return any(
        entry.get("manager") == MANAGER
        and "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
        for entry in live["metadata"].get("managedFields", ())
    )


def _replicas_only(live: Manifest) -> Manifest:
    """A field that nobody applies any more is removed, which makes it 1: somebody holds it until
    an autoscaler takes it over."""
    return {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {key: live["metadata"][key] for key in ("name", "namespace")},
        "spec": {"replicas": live["spec"]["replicas"]},
    }


def _vanished(observed: Observed, manifests: list[Manifest]) -> Iterator[Manifest]:
    there = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    for live in observed.children:
        is_own = owner_uid(live) == observed.uid
        if is_own and (live["kind"], live["metadata"]["name"]) not in there:
            yield live


def _created(observed: Observed) -> Iterator[PoolEvent]:
    if "status" not in observed.body:
        groups = ", ".join(group.name for group in observed.pool.spec.groups)
        yield PoolEvent(
            "Normal", "PoolCreated", f"serves {observed.pool.spec.model.name}: {groups}"
        )


def _stalled(body: Manifest, status: ModelPoolStatus) -> Iterator[PoolEvent]:
    last = condition(body, "Stalled")
    for new in status.conditions:
        if new.type == "Stalled" and new.status is ConditionStatus.TRUE:
            was = (last["status"], last["message"]) if last else None
            if was != (new.status, new.message):
                yield PoolEvent("Warning", new.reason, new.message[:NOTE_LIMIT])


def _scaled(observed: Observed, manifests: list[Manifest]) -> Iterator[PoolEvent]:
    for manifest in manifests:
        live = observed.child(manifest["kind"], manifest["metadata"]["name"])
        number = manifest["spec"].get("replicas")
        if live is None or number is None or hash_of(live) == hash_of(manifest):
            continue
        if (before := live["spec"].get("replicas")) != number:
            name = manifest["metadata"]["name"]
            yield PoolEvent("Normal", "GroupScaled", f"{name}: from {before} to {number}")
