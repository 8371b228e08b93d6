"""From what the cluster has to what routers get.  Pure.

A resource whose latest generation does not compile keeps the last one that did.  Of two pools that
claim a model, and of two policies that claim a pool, the older one has it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from headway_api import Document, InvalidDocuments, ModelPool, Problem, RoutingPolicy
from headway_api.compiler import content_hash
from headway_api.snapshots import (
    Item,
    PodEndpoint,
    canonical_json,
    consistent,
    resource_of,
    snapshot,
)
from headway_operator.discovery.outcomes import Compiled, Outcome, Target, Verdict
from headway_operator.discovery.pods import endpoints_of
from headway_operator.names import Manifest


@dataclass(frozen=True, slots=True)
class _Good:
    generation: int
    document: Document


@dataclass(slots=True)
class Compiler:
    """Remembers of every resource the last generation that compiled."""

    _good: dict[str, _Good] = field(default_factory=dict)

    def compile(
        self,
        pools: Sequence[Manifest],
        policies: Sequence[Manifest],
        pods: Sequence[Manifest],
        others: Callable[[str, str], Sequence[Manifest]],
    ) -> Compiled:
        """``others``: pods of an External group, by the pool's uid and the group's name."""
        pools, policies = _oldest_first(pools), _oldest_first(policies)
        known = {body["metadata"]["uid"] for body in (*pools, *policies)}
        self._good = {uid: good for uid, good in self._good.items() if uid in known}
        of_pools = list(self._pools(pools))
        serving = {
            outcome.key: good.document.resource
            for outcome in of_pools
            if (good := self._good.get(outcome.uid))
        }
        of_policies = list(self._policies(policies, set(serving)))
        endpoints = [
            endpoint
            for outcome in of_pools
            for endpoint in self._endpoints(outcome, serving.get(outcome.key), pods, others)
        ]
        return Compiled(
            snapshot=snapshot(
                (outcome.item for outcome in of_pools if outcome.item),
                (outcome.item for outcome in of_policies if outcome.item),
                endpoints,
            ),
            pools=tuple(of_pools),
            policies=tuple(of_policies),
        )

    def _pools(self, bodies: Sequence[Manifest]) -> Iterator[Outcome]:
        choices, problems = [], {}
        for i, body in enumerate(bodies):
            versions, problem = self._versions(body)
            choices.append(versions)
            if problem:
                problems[i] = problem
        documents = [[version.document for version in versions] for versions in choices]
        chosen, refused = consistent(documents)
        in_force = {id(document) for document in chosen}
        for i, body in enumerate(bodies):
            uid = body["metadata"]["uid"]
            now = next((v for v in choices[i] if id(v.document) in in_force), None)
            if now is None:
                self._good.pop(uid, None)
            else:
                self._good[uid] = now
            problem = problems.get(i) or _said(refused.get(i, ()))
            yield Outcome(body=body, item=_item(body, now), problem=problem)

    def _policies(self, bodies: Sequence[Manifest], pools: set[str]) -> Iterator[Outcome]:
        taken: dict[str, str] = {}
        for body in bodies:
            metadata = body["metadata"]
            versions, problem = self._versions(body)
            if not versions:
                targets = tuple(
                    Target(ref["name"], Verdict.INVALID, problem) for ref in _target_refs(body)
                )
                yield Outcome(body=body, item=_item(body, None), problem=problem, targets=targets)
                continue
            good = self._good[metadata["uid"]] = versions[0]
            policy = good.document.resource
            assert isinstance(policy, RoutingPolicy)
            key = f"{metadata['namespace']}/{metadata['name']}"
            targets = tuple(_target(policy, name, key, taken, pools) for name in _names(policy))
            granted = [t.name for t in targets if t.verdict is Verdict.ACCEPTED]
            taken |= dict.fromkeys((f"{metadata['namespace']}/{name}" for name in granted), key)
            yield Outcome(
                body=body,
                item=_policy_item(body, good, policy, granted) if granted else None,
                problem=problem,
                targets=tuple(Target(t.name, Verdict.INVALID, problem) for t in targets)
                if problem
                else targets,
                effective_hash=content_hash(policy.spec) if granted else "",
            )

    def _versions(self, body: Manifest) -> tuple[list[_Good], str]:
        """The latest generation if it can be read, then the last good one; and what is wrong."""
        metadata = body["metadata"]
        generation, key = metadata["generation"], f"{metadata['namespace']}/{metadata['name']}"
        good = self._good.get(metadata["uid"])
        if good is not None and good.generation == generation:
            return [good], ""
        kept = [] if good is None else [good]
        try:
            resource = resource_of(
                {
                    "apiVersion": body["apiVersion"],
                    "kind": body["kind"],
                    "metadata": {k: metadata[k] for k in ("name", "namespace")},
                    "spec": body.get("spec"),
                },
                key,
            )
        except InvalidDocuments as error:
            return kept, _said(error.problems)
        return [_Good(generation, Document(resource=resource, file=key)), *kept], ""

    def _endpoints(
        self,
        outcome: Outcome,
        resource: ModelPool | RoutingPolicy | None,
        pods: Sequence[Manifest],
        others: Callable[[str, str], Sequence[Manifest]],
    ) -> Iterator[PodEndpoint]:
        if isinstance(resource, ModelPool):
            yield from endpoints_of(resource, outcome.uid, pods, others)


def _target(
    policy: RoutingPolicy, name: str, key: str, taken: Mapping[str, str], pools: set[str]
) -> Target:
    target = f"{policy.metadata.namespace}/{name}"
    if target not in pools:
        what = f"there is no ModelPool {target} that can be used"
        return Target(name, Verdict.TARGET_NOT_FOUND, what)
    if (other := taken.get(target, key)) != key:
        return Target(name, Verdict.CONFLICTED, f"{target} has an older policy, {other}")
    return Target(name, Verdict.ACCEPTED)


def _policy_item(
    body: Manifest, good: _Good, policy: RoutingPolicy, granted: Sequence[str]
) -> Item:
    """For the pools that it has."""
    refs = tuple(ref for ref in policy.spec.target_refs if ref.name in granted)
    spec = policy.spec.model_copy(update={"target_refs": refs})
    return _item_of(body, good.generation, policy.model_copy(update={"spec": spec}))


def _item(body: Manifest, good: _Good | None) -> Item:
    if good is None:
        return _item_of(body, body["metadata"]["generation"], None)
    return _item_of(body, good.generation, good.document.resource)


def _item_of(body: Manifest, generation: int, resource: ModelPool | RoutingPolicy | None) -> Item:
    metadata = body["metadata"]
    return Item(
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        generation=generation,
        content=None if resource is None else canonical_json(resource),
    )


def _names(policy: RoutingPolicy) -> list[str]:
    return [ref.name for ref in policy.spec.target_refs]


def _target_refs(body: Manifest) -> list[Manifest]:
    """Of a spec that nothing has read."""
    refs = body.get("spec", {}).get("targetRefs", [])
    return [ref for ref in refs if isinstance(ref, dict) and "name" in ref]


def _oldest_first(bodies: Sequence[Manifest]) -> list[Manifest]:
    """Those that are being deleted are not there any more."""

    def age(body: Manifest) -> tuple[str, str, str]:
        metadata = body["metadata"]
        return metadata.get("creationTimestamp", ""), metadata["namespace"], metadata["name"]

    there = [body for body in bodies if "deletionTimestamp" not in body["metadata"]]
    return sorted(there, key=age)


def _said(problems: Sequence[Problem]) -> str:
    """Without the resource's own name, which its reader knows."""
    return "; ".join(
        f"{problem.field}: {problem.problem}" if problem.field else problem.problem
        for problem in problems
    )[:1024]
