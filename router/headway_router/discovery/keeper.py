"""What becomes of a snapshot that has arrived.  Pure: time is an argument.

One item that does not compile changes nothing but itself: its last good version stays in force.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import headway_api
from headway_api import Document, InvalidDocuments, ModelPool, Problem
from headway_api.compiler import discovered_endpoint
from headway_api.snapshots import Item, PodEndpoint, PodState, Snapshot, consistent, read_item
from headway_api.snapshots import snapshot as snapshot_of
from headway_core.facts import Endpoint, EndpointState
from headway_core.policy import Fleet

TOMBSTONE_S = 60.0
"""What was removed does not come back by a replica that has not seen the removal."""

_STATES = {
    PodState.READY: EndpointState.READY,
    PodState.DRAINING: EndpointState.DRAINING,
    PodState.TERMINATING: EndpointState.DRAINING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the router runs of an item.  ``message`` is empty: this very generation."""

    uid: str
    generation: int
    hash: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    fleet: Fleet
    results: tuple[Result, ...]
    endpoint_uids: Mapping[str, str]
    """Pods by ``address:port``."""
    is_stale: bool
    """The replica lags behind what this router has: what is newer here was kept."""
    effective: Snapshot
    """What is in force, to be written to disk."""


@dataclass(frozen=True, slots=True)
class _Version:
    item: Item
    document: Document


@dataclass(frozen=True, slots=True)
class _Tombstone:
    until_s: float
    server_id: str


class Keeper:
    """What the router has of every item."""

    def __init__(self) -> None:
        self._good: dict[str, _Version] = {}
        """Last good version, by uid."""
        self._newest: dict[str, Item] = {}
        """Newest version that has come, good or not."""
        self._tombstones: dict[str, _Tombstone] = {}

    def take(self, snapshot: Snapshot, server_id: str, now: float) -> Taken:
        """Never raises: what cannot be used is among the results."""
        wanted, is_stale = self._wanted(snapshot, server_id, now)
        refused: dict[str, str] = {}
        choices = {item.uid: self._versions(item, refused) for item in wanted}
        uids = list(choices)
        chosen, problems = consistent([[v.document for v in choices[uid]] for uid in uids])
        for i, found in problems.items():
            refused[uids[i]] = _said(found)
        in_force = {id(document) for document in chosen}
        self._good = {
            uid: version
            for uid, versions in choices.items()
            for version in versions
            if id(version.document) in in_force
        }
        fleet, endpoint_uids = _fleet(chosen, self._good, snapshot.endpoints)
        effective = snapshot_of(
            (v.item for v in self._good.values() if isinstance(v.document.resource, ModelPool)),
            (v.item for v in self._good.values() if not isinstance(v.document.resource, ModelPool)),
            snapshot.endpoints,
        )
        return Taken(
            fleet=fleet,
            results=tuple(self._results(wanted, refused)),
            endpoint_uids=endpoint_uids,
            is_stale=is_stale,
            effective=effective,
        )

    def _wanted(self, snapshot: Snapshot, server_id: str, now: float) -> tuple[list[Item], bool]:
        """Of every item the newest generation, and whether the snapshot lags behind."""
        self._tombstones = {u: t for u, t in self._tombstones.items() if t.until_s > now}
        here = {item.uid for item in snapshot.items}
        for uid in self._newest.keys() - here:
            self._tombstones[uid] = _Tombstone(now + TOMBSTONE_S, server_id)
            del self._newest[uid]
        wanted, is_stale = [], False
        for item in snapshot.items:
            buried = self._tombstones.get(item.uid)
            if buried is not None and buried.server_id != server_id:
                is_stale = True
                continue
            self._tombstones.pop(item.uid, None)
            known = self._newest.get(item.uid)
            if known is not None and item.generation < known.generation:
                is_stale = True
                item = known
            self._newest[item.uid] = item
            wanted.append(item)
        return wanted, is_stale

    def _versions(self, item: Item, refused: dict[str, str]) -> Sequence[_Version]:
        """The new one, if it can be read, then the last good one, if there is any."""
        good = self._good.get(item.uid)
        kept = [] if good is None else [good]
        if good is not None and good.item == item:
            return kept
        if item.content is None:
            return kept
        try:
            document = Document(resource=read_item(item), file=item.key)
        except InvalidDocuments as error:
            refused[item.uid] = _said(error.problems)
            return kept
        return [_Version(item, document), *kept]

    def _results(self, wanted: Sequence[Item], refused: Mapping[str, str]) -> list[Result]:
        results = []
        for item in wanted:
            good = self._good.get(item.uid)
            if item.content is None and good is None:
                continue
            runs = good.item if good is not None and item.content is None else item
            results.append(
                Result(
                    uid=item.uid,
                    generation=runs.generation,
                    hash=runs.hash,
                    message=refused.get(item.uid, ""),
                )
            )
        return results


def _fleet(
    chosen: Sequence[Document], good: Mapping[str, _Version], pods: Sequence[PodEndpoint]
) -> tuple[Fleet, dict[str, str]]:
    endpoints: defaultdict[str, dict[str, Endpoint]] = defaultdict(dict)
    uids: dict[str, str] = {}
    for pod in pods:
        version, state = good.get(pod.pool_uid), _STATES.get(pod.state)
        if version is None or state is None or not isinstance(version.document.resource, ModelPool):
            continue
        pool = version.document.resource
        endpoint = discovered_endpoint(
            pool, pod.group, name=pod.name, address=pod.address, port=pod.port, state=state
        )
        if endpoint is None:
            continue
        # A pod that has ended may leave its address to another one while both are known.
        other = endpoints[pool.key].get(endpoint.endpoint_id)
        if other is None or other.state is not EndpointState.READY:
            endpoints[pool.key][endpoint.endpoint_id] = endpoint
            uids[endpoint.endpoint_id] = pod.uid
    found = {key: tuple(by_id.values()) for key, by_id in endpoints.items()}
    return headway_api.compile(chosen, found), uids


def _said(problems: Sequence[Problem]) -> str:
    return "; ".join(str(problem) for problem in problems)[:1024]
