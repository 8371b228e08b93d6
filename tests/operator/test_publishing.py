"""When a replica publishes, and what it makes of the objects that it has."""

import itertools
from typing import Any

from headway_api.snapshots import PodState
from headway_operator.discovery.compiler import Compiler
from headway_operator.discovery.debounce import AT_MOST_S, QUIET_S, Debounce
from headway_operator.discovery.outcomes import Compiled, Verdict
from headway_operator.discovery.store import Kind, Store
from headway_operator.names import DRAIN, GROUP, POOL

Manifest = dict[str, Any]


def published(changes: list[tuple[float, bool]], until_s: float) -> list[float]:
    """Times at which snapshots go out, by a clock that is asked every 5 ms."""
    debounce, times, left = Debounce(), [], sorted(changes)
    for step in range(int(until_s / 0.005)):
        now = step * 0.005
        while left and left[0][0] <= now:
            debounce.changed(now, is_urgent=left.pop(0)[1])
        due_s = debounce.due_s()
        if due_s is not None and due_s <= now:
            debounce.published(now)
            times.append(now)
    return times


def test_it_waits_for_quiet_but_not_for_long() -> None:
    [alone] = published([(1.0, False)], 3.0)
    assert QUIET_S <= alone - 1.0 <= QUIET_S + 0.01
    [first, *_] = published([(1.0 + i * 0.03, False) for i in range(20)], 3.0)
    assert abs(first - 1.0 - AT_MOST_S) <= 0.01


def test_what_must_not_be_used_any_more_goes_out_at_once() -> None:
    assert published([(1.0, True)], 3.0) == [1.0]


def test_a_thousand_flaps_a_minute_are_five_snapshots_a_second_at_most() -> None:
    times = published([(i * 0.06, i % 2 == 0) for i in range(1000)], 61.0)
    assert all(b - a >= AT_MOST_S - 0.001 for a, b in itertools.pairwise(times))
    assert 250 <= len(times) <= 305
    assert times[-1] >= 999 * 0.06, "the last change is published too"


def a_pool(name: str, *, generation: int = 1, made: int = 0, **spec: Any) -> Manifest:
    group = {"name": "g", "workload": "External", "selector": {"app": "vllm"}}
    return _body(
        "ModelPool", name, generation, made, {"model": {"name": name}, "groups": [group]} | spec
    )


def a_policy(name: str, *targets: str, generation: int = 1, made: int = 0, **spec: Any) -> Manifest:
    refs = [{"name": target} for target in targets]
    return _body("RoutingPolicy", name, generation, made, {"targetRefs": refs} | spec)


def _body(kind: str, name: str, generation: int, made: int, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": f"uid-of-{name}",
            "generation": generation,
            "creationTimestamp": f"2026-01-01T00:00:{made:02d}Z",
        },
        "spec": spec,
    }


def a_pod(uid: str, *, ready: bool = True, **metadata: Any) -> Manifest:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "metadata": {"uid": uid, "name": uid, "namespace": "ns", **metadata},
        "status": {"podIP": "10.0.0.1", "phase": "Running", "conditions": conditions},
    }


def compiled(
    compiler: Compiler, pools: list[Manifest], policies: list[Manifest], *pods: Manifest
) -> Compiled:
    return compiler.compile(pools, policies, [], lambda uid, group: pods)


def test_an_invalid_generation_keeps_the_last_good_one_and_names_the_field() -> None:
    compiler = Compiler()
    compiled(compiler, [a_pool("p")], [a_policy("r", "p")])
    bad = a_policy("r", "p", generation=2, strategy={"candidates": "Everyone"})
    [outcome] = compiled(compiler, [a_pool("p")], [bad]).policies
    assert outcome.problem.startswith("spec.strategy.candidates: ")
    assert outcome.item is not None and outcome.item.generation == 1 and outcome.item.content
    assert [target.verdict for target in outcome.targets] == [Verdict.INVALID]


def test_an_invalid_generation_is_held_where_no_earlier_one_is_known() -> None:
    bad = a_pool("p", generation=4, model={"name": ""})
    now = compiled(Compiler(), [bad], [a_policy("r", "p")])
    [pool] = now.snapshot.pools
    assert (pool.generation, pool.content, pool.hash) == (4, None, "")
    assert now.policies[0].targets[0].verdict is Verdict.TARGET_NOT_FOUND


def test_the_oldest_policy_has_the_pool_and_routers_get_only_what_counts() -> None:
    young = a_policy("a-young", "p", "q", made=9)
    old = a_policy("z-old", "p", made=1)
    now = compiled(Compiler(), [a_pool("p"), a_pool("q")], [young, old])
    verdicts = {p.key: [t.verdict for t in p.targets] for p in now.policies}
    assert verdicts == {
        "ns/z-old": [Verdict.ACCEPTED],
        "ns/a-young": [Verdict.CONFLICTED, Verdict.ACCEPTED],
    }
    by_name = {item.name: item.content or b"" for item in now.snapshot.policies}
    assert b'"name":"q"' in by_name["a-young"] and b'"name":"p"' not in by_name["a-young"]
    assert [p.key for p in now.policy_of("ns/p")] == ["ns/z-old", "ns/a-young"]


def test_of_equally_old_policies_the_first_by_name_has_the_pool() -> None:
    now = compiled(Compiler(), [a_pool("p")], [a_policy("b", "p"), a_policy("a", "p")])
    assert now.policies[0].key == "ns/a" and now.policies[0].targets[0].verdict == "Accepted"


def test_a_policy_without_any_pool_is_not_published() -> None:
    now = compiled(Compiler(), [], [a_policy("r", "p")])
    assert now.snapshot.policies == ()
    assert now.policies[0].targets[0].message == "there is no ModelPool ns/p that can be used"


def test_of_two_pools_with_one_model_the_older_keeps_it() -> None:
    young = a_pool("young", made=2, model={"name": "m"})
    now = compiled(Compiler(), [young, a_pool("old", made=1, model={"name": "m"})], [])
    problems = {pool.key: pool.problem for pool in now.pools}
    assert problems["ns/old"] == ""
    assert problems["ns/young"].startswith("spec.model.name: 'm' is a model")


def test_pods_are_endpoints_in_the_state_that_routers_need() -> None:
    pods = [
        a_pod("ready"),
        a_pod("loading", ready=False),
        a_pod("drains", annotations={DRAIN: "2026-01-01T00:00:00Z"}),
        a_pod("ends", deletionTimestamp="2026-01-01T00:00:00Z"),
        {**a_pod("done"), "status": {"podIP": "10.0.0.1", "phase": "Succeeded"}},
        {**a_pod("no address"), "status": {}},
    ]
    now = compiled(Compiler(), [a_pool("p")], [], *pods)
    assert {e.uid: e.state for e in now.snapshot.endpoints} == {
        "ready": PodState.READY,
        "loading": PodState.NOT_READY,
        "drains": PodState.DRAINING,
        "ends": PodState.TERMINATING,
    }


def test_pods_of_deployment_groups_are_found_by_their_labels() -> None:
    template = {"spec": {"containers": [{"name": "engine", "image": "i"}]}}
    pool = a_pool("p", groups=[{"name": "g", "template": template}])
    labels = {POOL: "p", GROUP: "g"}
    pods = [
        a_pod("own", labels=labels),
        a_pod("another group", labels=labels | {GROUP: "h"}),
        a_pod("another pool", labels=labels | {POOL: "q"}),
    ]
    now = Compiler().compile([pool], [], pods, lambda uid, group: ())
    assert [endpoint.uid for endpoint in now.snapshot.endpoints] == ["own"]


def test_two_replicas_with_one_view_publish_one_hash() -> None:
    pools, policies = [a_pool("p"), a_pool("q")], [a_policy("r", "p")]
    one = compiled(Compiler(), pools, policies, a_pod("x"))
    other = compiled(Compiler(), pools[::-1], policies, a_pod("x"))
    assert one.snapshot == other.snapshot


def test_the_store_says_nothing_before_everything_was_listed() -> None:
    told: list[bool] = []
    store = Store(told.append)
    store.told(Kind.POOL, "ADDED", a_pool("p"))
    assert told == [] and not store.is_synced
    store.open()
    assert told == [False]
    pod = a_pod("x")
    store.told(Kind.POD, "ADDED", pod)
    store.told(Kind.POD, "MODIFIED", pod)
    assert told == [False, False], "the same again is no change"
    store.told(Kind.POD, "DELETED", pod)
    assert told == [False, False, True]


def test_a_list_finds_what_the_watch_has_missed_and_revives_nothing() -> None:
    store = Store(lambda _: None)
    store.told(Kind.POOL, None, a_pool("lost"))
    store.listing(Kind.POOL)
    store.told(Kind.POOL, "ADDED", a_pool("newer"))
    store.told(Kind.POOL, "DELETED", a_pool("just gone"))
    store.listed(Kind.POOL, [a_pool("just gone"), a_pool("missed")])
    assert {body["metadata"]["name"] for body in store.of(Kind.POOL)} == {"newer", "missed"}
