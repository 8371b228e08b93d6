"""A field ships with the code that obeys it: each one changes the fleet, and none is left out."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from api_fields import OPERATED, leaves
from headway_api.v1alpha1 import KINDS
from headway_core.facts import Slo
from headway_core.policy import CandidateSet, Fleet, Policy, Pool, PrefixAffinity, QueueOrder


@dataclass(frozen=True)
class Effect:
    """Replacing ``old`` by ``new`` in the good documents turns ``before`` into ``after``."""

    old: str
    new: str
    sees: Callable[[Fleet], object]
    before: object
    after: object


def llama(fleet: Fleet) -> Pool:
    return next(pool for pool in fleet.pools if "meta-llama/Llama-3.1-8B-Instruct" in pool.models)


def policy(fleet: Fleet) -> Policy:
    return llama(fleet).policy


def is_default(fleet: Fleet) -> list[bool]:
    return [pool.policy.candidates is CandidateSet.PAIR_PLUS for pool in fleet.pools]


EFFECTS: dict[str, Effect] = {
    "ModelPool.metadata.name": Effect(
        "  name: qwen-32b",
        "  name: qwen",
        lambda f: [p.name for p in f.pools],
        ["serving/llama-8b", "serving/qwen-32b"],
        ["serving/llama-8b", "serving/qwen"],
    ),
    "ModelPool.metadata.namespace": Effect(
        "  name: qwen-32b\n  namespace: serving",
        "  name: qwen-32b\n  namespace: other",
        lambda f: [p.name for p in f.pools],
        ["serving/llama-8b", "serving/qwen-32b"],
        ["other/qwen-32b", "serving/llama-8b"],
    ),
    "ModelPool.spec.model.name": Effect(
        "name: Qwen/Qwen3-32B",
        "name: Qwen/Qwen4-32B",
        lambda f: f.pools[1].model,
        "Qwen/Qwen3-32B",
        "Qwen/Qwen4-32B",
    ),
    "ModelPool.spec.model.aliases[]": Effect(
        "[llama-8b, small]",
        "[llama]",
        lambda f: llama(f).aliases,
        ("llama-8b", "small"),
        ("llama",),
    ),
    "ModelPool.spec.engine.port": Effect(
        "port: 8100",
        "port: 8200",
        lambda f: [e.endpoint_id for e in llama(f).endpoints],
        ["10.0.0.1:8100", "10.0.0.2:8101", "[fd00::3]:8100"],
        ["10.0.0.1:8200", "10.0.0.2:8101", "[fd00::3]:8200"],
    ),
    "ModelPool.spec.engine.metricsPath": Effect(
        "/engine/metrics",
        "/stats",
        lambda f: [p.metrics_path for p in f.pools],
        ["/engine/metrics", "/metrics"],
        ["/stats", "/metrics"],
    ),
    "ModelPool.spec.profile.adapters[].name": Effect(
        "name: sql", "name: SQL.v2", lambda f: llama(f).adapters, ("sql",), ("SQL.v2",)
    ),
    "ModelPool.spec.groups[].name": Effect(
        "name: existing", "name: old", lambda f: f.pools[1].endpoints[0].group, "existing", "old"
    ),
    "ModelPool.spec.groups[].accelerator.type": Effect(
        "a100-80gb",
        "b200",
        lambda f: [(e.accelerator, e.capacity.batch_tokens) for e in f.pools[1].endpoints],
        [("a100-80gb", 2048)],
        [("b200", 16384)],
    ),
    "ModelPool.spec.groups[].capacity.prefillTokensPerSecond": Effect(
        "PerSecond: 20000",
        "PerSecond: 10000",
        lambda f: [
            (e.weight, e.capacity.prefill_tokens_per_s)
            for e in llama(f).endpoints
            if e.group == "l40s"
        ],
        [(0.4, 20000.0)],
        [(0.2, 10000.0)],
    ),
    "ModelPool.spec.groups[].capacity.kvCacheTokens": Effect(
        "420000",
        "300000",
        lambda f: [e.capacity.kv_cache_tokens for e in llama(f).endpoints],
        [420000, 420000, None],
        [300000, 300000, None],
    ),
    "ModelPool.spec.groups[].endpoints[].name": Effect(
        "name: b,",
        "name: z,",
        lambda f: [e.name for e in llama(f).endpoints],
        ["a", "b", "a"],
        ["a", "z", "a"],
    ),
    "ModelPool.spec.groups[].endpoints[].address": Effect(
        "10.0.1.1",
        "10.0.1.9",
        lambda f: f.pools[1].endpoints[0].endpoint_id,
        "10.0.1.1:8000",
        "10.0.1.9:8000",
    ),
    "ModelPool.spec.groups[].endpoints[].port": Effect(
        "port: 8101",
        "port: 9101",
        lambda f: llama(f).endpoints[1].endpoint_id,
        "10.0.0.2:8101",
        "10.0.0.2:9101",
    ),
    "ModelPool.spec.slo.ttftMs": Effect(
        "ttftMs: 400",
        "ttftMs: 500",
        lambda f: [p.slo for p in f.pools],
        [Slo(ttft_s=0.4, ttft_s_per_1k_tokens=0.06), None],
        [Slo(ttft_s=0.5, ttft_s_per_1k_tokens=0.06), None],
    ),
    "ModelPool.spec.slo.ttftMsPer1kTokens": Effect(
        "Tokens: 60",
        "Tokens: 0",
        lambda f: llama(f).slo,
        Slo(ttft_s=0.4, ttft_s_per_1k_tokens=0.06),
        Slo(ttft_s=0.4),
    ),
    "RoutingPolicy.spec.targetRefs[].name": Effect(
        "      name: llama-8b", "      name: qwen-32b", is_default, [False, True], [True, False]
    ),
    "RoutingPolicy.spec.strategy.candidates": Effect(
        "candidates: All",
        "candidates: Pair",
        lambda f: policy(f).candidates,
        CandidateSet.ALL,
        CandidateSet.PAIR,
    ),
    "RoutingPolicy.spec.strategy.affinity.prefix.mode": Effect(
        "mode: Disabled",
        "mode: Approximate",
        lambda f: policy(f).prefix_affinity,
        PrefixAffinity.DISABLED,
        PrefixAffinity.APPROXIMATE,
    ),
    "RoutingPolicy.spec.strategy.staleAfterMs": Effect(
        "2500", "100", lambda f: policy(f).stale_after_s, 2.5, 0.1
    ),
    "RoutingPolicy.spec.sloClasses[].name": Effect(
        "name: batch",
        "name: bulk",
        lambda f: [c.name for c in policy(f).slo_classes],
        ["interactive", "batch"],
        ["interactive", "bulk"],
    ),
    "RoutingPolicy.spec.sloClasses[].priority": Effect(
        "priority: 100",
        "priority: 0",
        lambda f: [c.priority for c in policy(f).slo_classes],
        [100, -10],
        [0, -10],
    ),
    "RoutingPolicy.spec.sloClasses[].ttftMs": Effect(
        "ttftMs: 250",
        "ttftMs: 150",
        lambda f: [c.slo for c in policy(f).slo_classes],
        [Slo(ttft_s=0.25, ttft_s_per_1k_tokens=0.04), None],
        [Slo(ttft_s=0.15, ttft_s_per_1k_tokens=0.04), None],
    ),
    "RoutingPolicy.spec.sloClasses[].ttftMsPer1kTokens": Effect(
        "Tokens: 40",
        "Tokens: 0",
        lambda f: policy(f).slo_classes[0].slo,
        Slo(ttft_s=0.25, ttft_s_per_1k_tokens=0.04),
        Slo(ttft_s=0.25),
    ),
    "RoutingPolicy.spec.sloClasses[].sheddable": Effect(
        "sheddable: true",
        "sheddable: false",
        lambda f: [c.sheddable for c in policy(f).slo_classes],
        [False, True],
        [False, False],
    ),
    "RoutingPolicy.spec.sloClasses[].vllmPriority": Effect(
        "vllmPriority: -5",
        "vllmPriority: 0",
        lambda f: [c.vllm_priority for c in policy(f).slo_classes],
        [-5, None],
        [0, None],
    ),
    "RoutingPolicy.spec.flowControl.mode": Effect(
        "mode: Enabled", "mode: Disabled", lambda f: policy(f).flow_control.enabled, True, False
    ),
    "RoutingPolicy.spec.flowControl.order": Effect(
        "order: EDF",
        "order: SRPT",
        lambda f: policy(f).flow_control.order,
        QueueOrder.EDF,
        QueueOrder.SRPT,
    ),
    "RoutingPolicy.spec.flowControl.maxQueuedRequests": Effect(
        "Requests: 64", "Requests: 0", lambda f: policy(f).flow_control.max_queued_requests, 64, 0
    ),
    "RoutingPolicy.spec.flowControl.queueTimeoutSeconds": Effect(
        "Seconds: 12", "Seconds: 1", lambda f: policy(f).flow_control.queue_timeout_s, 12.0, 1.0
    ),
    "RoutingPolicy.spec.observability.decisionLogPercent": Effect(
        "LogPercent: 25",
        "LogPercent: 0",
        lambda f: policy(f).observability.decision_log_share,
        0.25,
        0.0,
    ),
    "RoutingPolicy.spec.observability.tracePercent": Effect(
        "tracePercent: 10",
        "tracePercent: 100",
        lambda f: policy(f).observability.trace_share,
        0.1,
        1.0,
    ),
    "RoutingPolicy.spec.observability.responseHeader": Effect(
        "responseHeader: true",
        "responseHeader: false",
        lambda f: policy(f).observability.response_header,
        True,
        False,
    ),
    "RoutingPolicy.spec.resilience.maxAttempts": Effect(
        "maxAttempts: 1", "maxAttempts: 2", lambda f: policy(f).max_attempts, 1, 2
    ),
}

IGNORED = {
    "ModelPool.metadata.labels": ("team: search", "team: chat"),
    "ModelPool.metadata.annotations": ("  labels:\n    team", "  annotations:\n    team"),
    "RoutingPolicy.metadata.name": ("name: chat", "name: c"),
    "RoutingPolicy.metadata.labels": ("name: chat", "name: chat\n  labels: {a: b}"),
    "RoutingPolicy.metadata.annotations": ("name: chat", "name: chat\n  annotations: {a: b}"),
}
"""Fields that say who a resource is and change nothing of what it asks for."""

REFUSED = {
    "ModelPool.spec.groups[].role": ("role: Both", "role: Prefill"),
    "RoutingPolicy.metadata.namespace": (
        "name: chat\n  namespace: serving",
        "name: chat\n  namespace: other",
    ),
    "RoutingPolicy.spec.targetRefs[].group": (
        "- group: headway.dev",
        "- group: inference.networking.k8s.io",
    ),
    "RoutingPolicy.spec.targetRefs[].kind": (
        "kind: ModelPool\n      name",
        "kind: Service\n      name",
    ),
}
"""Fields where the good documents' value is the only one: another is a problem."""


def test_every_leaf_field_of_both_resources_has_an_effect_here() -> None:
    fields = {
        leaf
        for kind, model in KINDS.items()
        for leaf in leaves(model, kind)
        if not leaf.endswith((".kind", ".apiVersion")) or "targetRefs" in leaf
    }
    assert fields == EFFECTS.keys() | IGNORED.keys() | REFUSED.keys() | OPERATED


@pytest.mark.parametrize("field", EFFECTS)
def test_the_field_decides(
    field: str, serving: Callable[..., str], compiled: Callable[[str], Fleet]
) -> None:
    effect = EFFECTS[field]
    assert effect.sees(compiled(serving())) == effect.before
    assert effect.sees(compiled(serving(effect.old, effect.new))) == effect.after


@pytest.mark.parametrize("field", IGNORED)
def test_the_field_changes_nothing(
    field: str, serving: Callable[..., str], compiled: Callable[[str], Fleet]
) -> None:
    assert compiled(serving(*IGNORED[field])) == compiled(serving())


@pytest.mark.parametrize("field", REFUSED)
def test_the_field_has_one_value(
    field: str, serving: Callable[..., str], problems: Callable[..., list[str]]
) -> None:
    [problem] = problems(serving(*REFUSED[field]))
    assert "; allowed: " in problem
