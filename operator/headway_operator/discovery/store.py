"""Every object that routers are told of, as the API server had it last."""

from collections.abc import Callable, Iterable
from enum import StrEnum

from headway_operator.names import DRAIN, Manifest


class Kind(StrEnum):
    POOL = "ModelPool"
    POLICY = "RoutingPolicy"
    POD = "Pod"


class Store:
    """``changed`` is told of every change, and whether routers should know at once."""

    def __init__(self, changed: Callable[[bool], None]) -> None:
        self._changed = changed
        self._objects: dict[Kind, dict[str, Manifest]] = {kind: {} for kind in Kind}
        self._gone: dict[Kind, set[str]] = {}
        """Uids that were deleted while their kind is being listed."""
        self._known_before: dict[Kind, frozenset[str]] = {}
        self._others: dict[tuple[str, str], tuple[Manifest, ...]] = {}

        self.is_synced = False
        """Everything was listed once: what is not here is not there."""

    def open(self) -> None:
        """Everything was listed."""
        self.is_synced = True
        self._changed(False)

    def of(self, kind: Kind) -> list[Manifest]:
        return list(self._objects[kind].values())

    def others(self, pool_uid: str, group: str) -> tuple[Manifest, ...] | None:
        """Pods of an External group.  None: nobody has looked for them yet."""
        return self._others.get((pool_uid, group))

    def told(self, kind: Kind, what: str | None, body: Manifest) -> None:
        """By a watch; ``what`` is ``DELETED`` or anything else."""
        uid = body["metadata"]["uid"]
        if what == "DELETED":
            self._objects[kind].pop(uid, None)
            self._gone.get(kind, set()).add(uid)
        elif self._objects[kind].get(uid) == body:
            return
        else:
            self._objects[kind][uid] = body
        if self.is_synced:
            self._changed(kind is Kind.POD and (what == "DELETED" or _ends(body)))

    def listing(self, kind: Kind) -> None:
        """A list begins: what is told from here on is newer."""
        self._gone[kind] = set()
        self._known_before[kind] = frozenset(self._objects[kind])

    def listed(self, kind: Kind, bodies: Iterable[Manifest]) -> None:
        """All objects of the kind.  A watch that has missed a deletion is put right by this."""
        found = {body["metadata"]["uid"]: body for body in bodies}
        objects, gone = self._objects[kind], self._gone.pop(kind, set())
        missed = self._known_before.pop(kind) - found.keys()
        new = found.keys() - objects.keys() - gone
        for uid in missed:
            objects.pop(uid, None)
        objects |= {uid: found[uid] for uid in new}
        if self.is_synced and (missed or new):
            self._changed(bool(missed))

    def found(self, pool_uid: str, group: str, pods: Iterable[Manifest]) -> None:
        """The pods of an External group, all of them."""
        key, now = (pool_uid, group), tuple(pods)
        if self._others.get(key) != now:
            self._others[key] = now
            if self.is_synced:
                self._changed(True)


def _ends(pod: Manifest) -> bool:
    metadata = pod["metadata"]
    return "deletionTimestamp" in metadata or DRAIN in (metadata.get("annotations") or {})
