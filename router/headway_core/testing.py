"""Builders for tests: each names only what the test is about."""

from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from itertools import count
from random import Random
from typing import Any

from headway_core.affinity.rings import DualRing
from headway_core.estimate.work import prefill_work
from headway_core.facts import Capacity, Endpoint, EndpointState, InferenceRequest, Slo
from headway_core.ledger import Ledger
from headway_core.outcomes import Candidate, Decision, Reason
from headway_core.policy import Fleet, Policy, Pool, SloClass
from headway_core.router import Router
from headway_core.tracking import Held, Tracked

BLOCK_TOKENS = 256
_ids = count()


def a_request(
    *,
    blocks: Sequence[int] = (),
    prompt_tokens: int | None = None,
    request_id: str | None = None,
    model: str = "m",
    slo: Slo | None = None,
    slo_class: str | None = None,
    priority: int | None = None,
    allowed: Sequence[str] | None = None,
) -> InferenceRequest:
    """A request with a fresh id; as many prompt tokens as its blocks, 100 without any."""
    tokens = BLOCK_TOKENS * len(blocks) + 1 if blocks else 100
    return InferenceRequest(
        request_id=request_id or f"r{next(_ids)}",
        requested_model=model,
        prompt_tokens=tokens if prompt_tokens is None else prompt_tokens,
        blocks=tuple(blocks),
        block_tokens=BLOCK_TOKENS,
        slo=slo,
        slo_class=slo_class,
        priority=priority,
        allowed_endpoints=None if allowed is None else frozenset(allowed),
    )


def an_endpoint(
    name: str,
    *,
    prefill_tokens_per_s: float | None = 10_000.0,
    weight: float = 1.0,
    state: EndpointState = EndpointState.READY,
    batch_tokens: int = 2048,
    kv_cache_tokens: int | None = None,
    group: str = "default",
) -> Endpoint:
    """An endpoint whose id is its name."""
    return Endpoint(
        endpoint_id=name,
        name=name,
        group=group,
        state=state,
        weight=weight,
        capacity=Capacity(
            prefill_tokens_per_s=prefill_tokens_per_s,
            kv_cache_tokens=kv_cache_tokens,
            batch_tokens=batch_tokens,
        ),
    )


def a_pool(
    endpoints: Sequence[Endpoint | str],
    *,
    policy: Policy | None = None,
    slo: Slo | None = None,
    name: str = "default/m",
    model: str = "m",
) -> Pool:
    return Pool(
        name=name,
        model=model,
        endpoints=tuple(an_endpoint(e) if isinstance(e, str) else e for e in endpoints),
        slo=slo,
        policy=policy or Policy(),
    )


def a_router(*pools: Pool, now: float = 0.0, seed: int = 0) -> Router:
    """A router that already has these pools."""
    router = Router(Random(seed))
    router.apply(Fleet(pools=pools), now)
    return router


def a_tracked(
    request_id: str | None = None,
    *,
    tokens: int = 100,
    hit_tokens: int = 0,
    arrived: float = 0.0,
    sequence: int | None = None,
    ttft_s: float | None = None,
    priority: int = 0,
    prefill_s: float = 0.1,
    endpoint_id: str = "a",
    sheddable: bool = False,
) -> Tracked:
    """A request that waits for ``endpoint_id``, with ``tokens`` to prefill there."""
    request = a_request(request_id=request_id, prompt_tokens=tokens + hit_tokens)
    seconds = {"queue": 0.0, "engine": 0.0, "foreign": 0.0, "prefill": prefill_s}
    candidate = Candidate(endpoint_id, seconds, prefill_s, hit_tokens, None)
    decision = Decision("default/m", endpoint_id, (candidate,), Reason.LEAST_TTFT, "")
    return Tracked(
        request=request,
        arrived=arrived,
        sequence=next(_ids) if sequence is None else sequence,
        ttft_s=ttft_s,
        priority=priority,
        slo_class=SloClass(name="", sheddable=sheddable),
        queue_deadline=arrived + 30.0,
        held=Held(
            endpoint_id=endpoint_id,
            decision=decision,
            work=prefill_work(tokens + hit_tokens, hit_tokens),
            hit_tokens=hit_tokens,
            prefill_s=prefill_s,
        ),
    )


_INTERNAL = frozenset(("_heaps", "_rng"))
"""Of the state what may change without meaning anything."""


def snapshot(value: object) -> object:
    """The state of a core, or of a part of it, to compare with a later one."""
    return _snapshot(value, {})


def _snapshot(value: object, known: dict[int, object]) -> object:
    """``known``: by id, what was met already."""
    if id(value) in known:
        return known[id(value)]
    match value:
        case dict():
            return {key: _snapshot(item, known) for key, item in value.items()}
        case list() | tuple() | deque():
            return [_snapshot(item, known) for item in value]
        case set():
            return frozenset(value)
    kind = type(value)
    if not kind.__module__.startswith("headway_core") or _never_changes(value):
        return value
    found: dict[str, Any] = {}
    known[id(value)] = found
    names = getattr(kind, "__slots__", None) or vars(value)
    for name in names:
        if name not in _INTERNAL:
            found[name] = _snapshot(getattr(value, name), known)
    if isinstance(value, Ledger):  # It makes loads of nothing to be read.
        found["loads"] = {e: load for e, load in found["loads"].items() if load["leases"]}
    return found


def _never_changes(value: object) -> bool:
    if isinstance(value, StrEnum | DualRing):
        return True
    parameters = getattr(value, "__dataclass_params__", None)
    return parameters is not None and (parameters.frozen or parameters.unsafe_hash)


def a_chain(name: int, blocks: int) -> tuple[int, ...]:
    """Block ids of a prompt that shares nothing with another ``name``."""
    return tuple(name * 1_000_003 + i + 1 for i in range(blocks))
