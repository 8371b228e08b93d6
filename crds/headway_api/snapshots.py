"""The whole state that an operator gives to routers, in a form that is the same everywhere.

Resources travel as canonical JSON and are read by the same strict types as files, so that a router
refuses a field that it does not know instead of routing without it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from headway_api.documents import Document
from headway_api.errors import InvalidDocuments, Problem
from headway_api.model_pool import ModelPool
from headway_api.nodes import field_name
from headway_api.routing_policy import RoutingPolicy
from headway_api.rules import check
from headway_api.v1alpha1 import KINDS

SCHEMA = 1
"""Of the snapshot as a whole; a field more in a resource needs no other."""


class PodState(StrEnum):
    READY = "READY"
    NOT_READY = "NOT_READY"
    DRAINING = "DRAINING"
    TERMINATING = "TERMINATING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A resource.  ``content`` is its canonical JSON; None: its generation is not valid, and no
    earlier one is known where the snapshot was made (held)."""

    uid: str
    namespace: str
    name: str
    generation: int
    content: bytes | None
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hash", "" if self.content is None else sha256(self.content))

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PodEndpoint:
    """A pod that belongs to a group of a pool."""

    uid: str
    pool_uid: str
    group: str
    name: str
    address: str
    port: int
    state: PodState


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """In the order of uids."""

    pools: tuple[Item, ...] = ()
    policies: tuple[Item, ...] = ()
    endpoints: tuple[PodEndpoint, ...] = ()
    content_hash: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "content_hash", _content_hash(self))

    @property
    def items(self) -> tuple[Item, ...]:
        return (*self.pools, *self.policies)


def snapshot(
    pools: Iterable[Item], policies: Iterable[Item], endpoints: Iterable[PodEndpoint]
) -> Snapshot:
    """From parts in any order."""
    return Snapshot(
        pools=tuple(sorted(pools, key=lambda item: item.uid)),
        policies=tuple(sorted(policies, key=lambda item: item.uid)),
        endpoints=tuple(sorted(endpoints)),
    )


def canonical(content: Any) -> bytes:
    """JSON with sorted keys and no spaces."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def canonical_json(resource: ModelPool | RoutingPolicy) -> bytes:
    """All that routing reads of the resource, defaults filled in."""
    content = resource.model_dump(mode="json", exclude_none=True)
    content["metadata"] = {key: content["metadata"][key] for key in ("name", "namespace")}
    return canonical(content)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def resource_of(body: Mapping[str, Any], where: str) -> ModelPool | RoutingPolicy:
    """From JSON's types, with the rules that it can break alone.

    Raises: InvalidDocuments: ``where`` is its name there.
    """
    kind = body.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise InvalidDocuments([Problem(file=where, field="kind", problem=f"{kind!r} is unknown")])
    try:
        resource = KINDS[kind].model_validate(body)
    except ValidationError as error:
        raise InvalidDocuments(
            Problem(file=where, field=field_name(found["loc"]), problem=found["msg"])
            for found in error.errors(include_url=False)
        ) from error
    if problems := check([Document(resource=resource, file=where)], complete=False):
        raise InvalidDocuments(problems)
    return resource


def read_item(item: Item) -> ModelPool | RoutingPolicy:
    """Raises: InvalidDocuments: also for content that is no JSON."""
    assert item.content is not None, "a held item has none"
    try:
        body = json.loads(item.content)
    except ValueError as error:
        raise InvalidDocuments([Problem(file=item.key, problem=f"is no JSON: {error}")]) from error
    if not isinstance(body, dict):
        raise InvalidDocuments([Problem(file=item.key, problem="is no JSON object")])
    return resource_of(body, item.key)


def consistent(
    choices: Sequence[Sequence[Document]],
) -> tuple[list[Document], dict[int, tuple[Problem, ...]]]:
    """Of each resource the first version that goes together with the others.

    ``choices``: the versions of each, the preferred one first; those that come first keep what
    they claim.  Returns the chosen documents, and by index why a preferred one was not.
    """
    preferred = [versions[0] for versions in choices if versions]
    if not check(preferred):
        return preferred, {}
    chosen: list[Document] = []
    refused: dict[int, tuple[Problem, ...]] = {}
    pools_first = sorted(range(len(choices)), key=lambda i: not _is_pool(choices[i]))
    for i in pools_first:
        for version in choices[i]:
            problems = check([*chosen, version])
            if not problems:
                chosen.append(version)
                break
            refused.setdefault(i, tuple(problems))
    return chosen, refused


def _is_pool(versions: Sequence[Document]) -> bool:
    return bool(versions) and isinstance(versions[0].resource, ModelPool)


def _content_hash(of: Snapshot) -> str:
    digest = hashlib.sha256(f"headway snapshot {SCHEMA}\n".encode())
    for line in _lines(of):
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def _lines(of: Snapshot) -> Iterator[str]:
    for kind, items in (("pool", of.pools), ("policy", of.policies)):
        for item in items:
            yield f"{kind} {item.uid} {item.generation} {item.hash or 'HELD'}"
    for e in of.endpoints:
        yield f"endpoint {e.uid} {e.pool_uid} {e.group} {e.name} {e.address} {e.port} {e.state}"
