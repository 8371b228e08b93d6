"""What the cluster has of a pool, as read in one pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from headway_api.documents import Document
from headway_api.model_pool import ModelPool
from headway_api.nodes import field_name
from headway_api.rules import check
from headway_operator.errors import InvalidSpec
from headway_operator.names import Manifest, child


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    body: Manifest
    """The ModelPool."""
    pool: ModelPool
    """Its meaning."""
    children: tuple[Manifest, ...] = ()
    """Deployments and PodDisruptionBudgets that are labelled as the pool's or in their place."""
    pods: Mapping[str, tuple[Manifest, ...]] = field(default_factory=dict)
    """Of External groups, by group."""

    @property
    def uid(self) -> str:
        return str(self.body["metadata"]["uid"])

    def child(self, kind: str, name: str) -> Manifest | None:
        for manifest in self.children:
            if manifest["kind"] == kind and manifest["metadata"]["name"] == name:
                return manifest
        return None

    def deployment(self, group: str) -> Manifest | None:
        return self.child("Deployment", child(self.pool.metadata.name, group))


def read(body: Manifest) -> ModelPool:
    """The pool of an object that the API server has admitted.

    Raises: InvalidSpec: the definition in the cluster is another version's, or a rule is broken
        that the API server does not know.
    """
    metadata = body["metadata"]
    try:
        pool = ModelPool.model_validate(
            {
                "apiVersion": body["apiVersion"],
                "kind": body["kind"],
                "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
                "spec": body.get("spec"),
            }
        )
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        raise InvalidSpec(field_name(first["loc"]), first["msg"]) from error
    for problem in check([Document(resource=pool, file="")]):
        raise InvalidSpec(problem.field or "", problem.problem)
    return pool


def timestamp(now: float) -> str:
    """``2026-01-01T00:00:00Z``."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
