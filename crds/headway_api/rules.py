"""What one field demands of another, within a resource and between those of a configuration."""

from collections.abc import Iterable, Iterator, Sequence

from headway_api import addresses
from headway_api.cel import broken as broken_rules
from headway_api.documents import Document
from headway_api.errors import Problem
from headway_api.meta import ApiModel
from headway_api.model_pool import Group, ModelPool
from headway_api.nodes import Path
from headway_api.routing_policy import RoutingPolicy

Place = tuple[Document, Path]


def check(
    documents: Sequence[Document], *, broken: frozenset[str] = frozenset(), complete: bool = True
) -> list[Problem]:
    """Every broken rule.

    ``broken``: keys of pools that exist but could not be read; ``complete``: there are no others.
    A policy may target those, as what is wrong with them is a problem already.
    """
    problems = list(_one_resource_per_name(documents))
    for document in documents:
        problems += _declared(document, (), document.resource)
        match document.resource:
            case ModelPool() as pool:
                problems += _in_pool(document, pool)
            case RoutingPolicy() as policy:
                problems += _in_policy(document, policy)
    problems += _one_pool_per_model(documents)
    problems += _one_policy_per_pool(documents)
    if complete:
        problems += _targets_exist(documents, broken)
    return problems


def _models(pool: ModelPool) -> Iterator[tuple[Path, str]]:
    """Every ``model`` that clients may send to reach the pool, and where it is written."""
    yield ("spec", "model", "name"), pool.spec.model.name
    for i, alias in enumerate(pool.spec.model.aliases):
        yield ("spec", "model", "aliases", i), alias
    for i, adapter in enumerate(pool.spec.profile.adapters):
        yield ("spec", "profile", "adapters", i, "name"), adapter.name


def _targets(policy: RoutingPolicy) -> Iterator[tuple[Path, str]]:
    for i, key in enumerate(policy.target_keys):
        yield ("spec", "targetRefs", i, "name"), key


def _in_pool(document: Document, pool: ModelPool) -> Iterator[Problem]:
    groups = [(("spec", "groups", i), group) for i, group in enumerate(pool.spec.groups)]
    names: list[tuple[Place, str]] = [((document, (*p, "name")), g.name) for p, g in groups]
    yield from _distinct(names, "a group of the pool")
    ids: list[tuple[Place, str]] = []
    for path, group in groups:
        yield from _in_group(document, path, group)
        ids += _endpoint_ids(document, path, group, pool.spec.engine.port)
    yield from _distinct(ids, "an endpoint of the pool")


def _in_group(document: Document, path: Path, group: Group) -> Iterator[Problem]:
    names: list[tuple[Place, str]] = []
    for i, endpoint in enumerate(group.endpoints):
        names.append(((document, (*path, "endpoints", i, "name")), endpoint.name))
        if problem := addresses.problem_of(endpoint.address):
            at = (*path, "endpoints", i, "address")
            yield document.problem(at, problem, addresses.ALLOWED)
    yield from _distinct(names, "an endpoint of the group")


def _endpoint_ids(
    document: Document, path: Path, group: Group, default_port: int
) -> Iterator[tuple[Place, str]]:
    for i, endpoint in enumerate(group.endpoints):
        if addresses.problem_of(endpoint.address) is None:
            at = (*path, "endpoints", i, "address")
            yield (
                (document, at),
                addresses.endpoint_id(endpoint.address, endpoint.port or default_port),
            )


def _in_policy(document: Document, policy: RoutingPolicy) -> Iterator[Problem]:
    targets: list[tuple[Place, str]] = [((document, path), key) for path, key in _targets(policy)]
    yield from _distinct(targets, "a target of the policy")
    classes: list[tuple[Place, str]] = []
    for i, slo_class in enumerate(policy.spec.slo_classes):
        classes.append(((document, ("spec", "sloClasses", i, "name")), slo_class.name))
    yield from _distinct(classes, "an SLO class of the policy")


def _declared(document: Document, path: Path, value: object) -> Iterator[Problem]:
    """The rules that the types in ``value`` declare themselves."""
    if isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from _declared(document, (*path, i), item)
    elif isinstance(value, ApiModel):
        for rule in broken_rules(value, value.rules):
            yield document.problem((*path, rule.field), rule.problem, rule.allowed)
        for name, field in type(value).model_fields.items():
            yield from _declared(document, (*path, str(field.alias)), getattr(value, name))


def _one_resource_per_name(documents: Sequence[Document]) -> Iterator[Problem]:
    for kind in (ModelPool, RoutingPolicy):
        named: list[tuple[Place, str]] = [
            ((d, ("metadata", "name")), d.resource.key)
            for d in documents
            if isinstance(d.resource, kind)
        ]
        yield from _distinct(named, f"a {kind.__name__}")


def _one_pool_per_model(documents: Sequence[Document]) -> Iterator[Problem]:
    named: list[tuple[Place, str]] = [
        ((document, path), model)
        for document in documents
        if isinstance(document.resource, ModelPool)
        for path, model in _models(document.resource)
    ]
    yield from _distinct(named, "a model, alias or adapter")


def _one_policy_per_pool(documents: Sequence[Document]) -> Iterator[Problem]:
    """The cluster lets the oldest policy win; files have no age."""
    targeted: dict[str, tuple[Document, Path]] = {}
    for document in documents:
        if isinstance(document.resource, RoutingPolicy):
            for path, key in _targets(document.resource):
                first, where = targeted.setdefault(key, (document, path))
                if first is not document:
                    yield document.problem(
                        path,
                        f"{key} has a policy already, {first.resource.key} in {first.place(where)}",
                        "one policy for a pool",
                    )


def _targets_exist(documents: Sequence[Document], broken: frozenset[str]) -> Iterator[Problem]:
    pools = {d.resource.key for d in documents if isinstance(d.resource, ModelPool)}
    for document in documents:
        if isinstance(policy := document.resource, RoutingPolicy):
            namespace = policy.metadata.namespace
            here = sorted(key for key in pools if key.startswith(f"{namespace}/"))
            for path, key in _targets(policy):
                if key not in pools | broken:
                    allowed = ", ".join(here) or f"none: no ModelPool in namespace {namespace}"
                    yield document.problem(path, f"there is no ModelPool {key}", allowed)


def _distinct(values: Iterable[tuple[Place, str]], what: str) -> Iterator[Problem]:
    seen: dict[str, Place] = {}
    for (document, path), value in values:
        if value in seen:
            first, where = seen[value]
            problem = f"{value!r} is {what} already, in {first.place(where)}"
            yield document.problem(path, problem, "each once")
        else:
            seen[value] = (document, path)
