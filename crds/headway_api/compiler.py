"""From documents to the core's ``Fleet``.  Pure, and the only way from one to the other."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from headway_api import accelerators, addresses
from headway_api.documents import Document
from headway_api.errors import InvalidDocuments
from headway_api.meta import SloSpec
from headway_api.model_pool import Group, ModelPool
from headway_api.routing_policy import FlowControlMode, RoutingPolicy, RoutingPolicySpec
from headway_api.rules import check
from headway_api.snapshots import canonical
from headway_core.facts import Capacity, Endpoint, EndpointId, EndpointState, Slo
from headway_core.policy import Fleet, FlowControl, Observability, Policy, Pool, SloClass

NOTHING_DISCOVERED: Mapping[str, Sequence[Endpoint]] = MappingProxyType({})


def compile(  # noqa: A001 - the verb of the design; used as headway_api.compile
    documents: Sequence[Document],
    endpoints: Mapping[str, Sequence[Endpoint]] = NOTHING_DISCOVERED,
) -> Fleet:
    """The same fleet for the same documents in any order.

    ``endpoints`` is what discovery says, by pool (``namespace/name``).  One that a group declares
    gets its discovered state (draining, for example); any other joins the pool as it is.  Pools
    that no document declares are ignored: discovery may be ahead.

    Raises:
        InvalidDocuments: a rule is broken.
    """
    if problems := check(documents):
        raise InvalidDocuments(problems)
    policies = {
        key: policy(d.resource.spec)
        for d in documents
        if isinstance(d.resource, RoutingPolicy)
        for key in d.resource.target_keys
    }
    pools = [d.resource for d in documents if isinstance(d.resource, ModelPool)]
    return Fleet(
        pools=tuple(
            _pool(pool, policies.get(pool.key, _DEFAULT_POLICY), endpoints.get(pool.key, ()))
            for pool in sorted(pools, key=lambda pool: pool.key)
        )
    )


def policy(spec: RoutingPolicySpec) -> Policy:
    flow = spec.flow_control
    return Policy(
        candidates=spec.strategy.candidates,
        prefix_affinity=spec.strategy.affinity.prefix.mode,
        stale_after_s=spec.strategy.stale_after_ms / 1000,
        slo_classes=tuple(
            SloClass(
                name=one.name,
                priority=one.priority,
                slo=_slo(one),
                sheddable=one.sheddable,
                vllm_priority=one.vllm_priority,
            )
            for one in spec.slo_classes
        ),
        flow_control=FlowControl(
            enabled=flow.mode is FlowControlMode.ENABLED,
            order=flow.order,
            max_queued_requests=flow.max_queued_requests,
            queue_timeout_s=float(flow.queue_timeout_seconds),
        ),
        max_attempts=spec.resilience.max_attempts,
        observability=Observability(
            decision_log_share=spec.observability.decision_log_percent / 100,
            trace_share=spec.observability.trace_percent / 100,
            response_header=spec.observability.response_header,
        ),
        content_hash=content_hash(spec),
    )


def content_hash(spec: RoutingPolicySpec) -> str:
    """First 16 hex digits of the SHA-256 of what the policy asks for, whoever it targets.

    Of its canonical JSON: defaults filled in, keys sorted.  So two spellings of one policy have
    one hash, and a pool without a policy has that of ``targetRefs`` alone.
    """
    content = canonical(spec.model_dump(mode="json", exclude={"target_refs"}, exclude_none=True))
    return hashlib.sha256(content).hexdigest()[:16]


def _pool(pool: ModelPool, routed_by: Policy, discovered: Sequence[Endpoint]) -> Pool:
    spec = pool.spec
    states = {endpoint.endpoint_id: endpoint.state for endpoint in discovered}
    declared = [
        endpoint
        for group in spec.groups
        for endpoint in _endpoints(group, measure=spec.groups[0], port=spec.engine.port)
    ]
    ids = {endpoint.endpoint_id for endpoint in declared}
    return Pool(
        name=pool.key,
        model=spec.model.name,
        aliases=spec.model.aliases,
        adapters=tuple(adapter.name for adapter in spec.profile.adapters),
        endpoints=(
            *(replace(e, state=states.get(e.endpoint_id, e.state)) for e in declared),
            *(e for e in discovered if e.endpoint_id not in ids),
        ),
        slo=_slo(spec.slo),
        metrics_path=spec.engine.metrics_path,
        policy=routed_by,
    )


def _endpoints(group: Group, *, measure: Group, port: int) -> Iterator[Endpoint]:
    for endpoint in group.endpoints:
        endpoint_id = addresses.endpoint_id(endpoint.address, endpoint.port or port)
        yield _endpoint(group, measure, endpoint_id, endpoint.name)


def discovered_endpoint(
    pool: ModelPool, group: str, *, name: str, address: str, port: int, state: EndpointState
) -> Endpoint | None:
    """One that the operator has found, as if the group had declared it.

    None: the pool has no such group, or nothing can be dialled at the address.
    """
    groups = {one.name: one for one in pool.spec.groups}
    if group not in groups or addresses.problem_of(address) is not None:
        return None
    endpoint_id = addresses.endpoint_id(address, port)
    found = _endpoint(groups[group], pool.spec.groups[0], endpoint_id, name)
    return replace(found, state=state)


def _endpoint(group: Group, measure: Group, endpoint_id: EndpointId, name: str) -> Endpoint:
    accelerator = group.accelerator.type if group.accelerator else None
    return Endpoint(
        endpoint_id=endpoint_id,
        name=name,
        group=group.name,
        role=group.role,
        weight=_weight(group, measure),
        capacity=Capacity(
            prefill_tokens_per_s=_float(group.capacity.prefill_tokens_per_second),
            kv_cache_tokens=group.capacity.kv_cache_tokens,
            batch_tokens=accelerators.batch_tokens(accelerator),
        ),
        accelerator=accelerator,
    )


def _weight(group: Group, measure: Group) -> float:
    """Prefill rate of one endpoint over that of the pool's first group.

    Of the declared rates where both are declared, else of the accelerators, else 1.0.
    """
    rate, unit = (g.capacity.prefill_tokens_per_second for g in (group, measure))
    if rate is not None and unit is not None:
        return rate / unit
    types = [g.accelerator.type if g.accelerator else None for g in (group, measure)]
    return accelerators.relative_prefill_rate(types[0], types[1])


def _slo(spec: SloSpec) -> Slo | None:
    if spec.ttft_ms is None:
        return None
    return Slo(ttft_s=spec.ttft_ms / 1000, ttft_s_per_1k_tokens=spec.ttft_ms_per_1k_tokens / 1000)


def _float(number: int | None) -> float | None:
    return None if number is None else float(number)


_DEFAULT_POLICY = policy(RoutingPolicySpec.model_validate({"targetRefs": [{"name": "any"}]}))
