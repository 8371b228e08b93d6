"""What becomes of a snapshot: each rule of delivery, in virtual time."""

import json
from typing import Any

import headway_api
from headway_api.snapshots import Item, PodEndpoint, PodState, Snapshot, canonical_json, snapshot
from headway_core.facts import EndpointState
from headway_router.discovery.keeper import TOMBSTONE_S, Keeper, Taken

YAML = """\
apiVersion: headway.dev/v1alpha1
kind: ModelPool
metadata: {name: chat}
spec:
  model: {name: chat}
  groups:
    - name: local
      workload: Static
      endpoints: [{name: a, address: 127.0.0.1, port: 8001}]
---
apiVersion: headway.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: policy, labels: {team: a}}
spec: {targetRefs: [{name: chat}], strategy: {candidates: All}}
"""
POOL, POLICY = headway_api.read({"f.yaml": YAML}, origin="test")


def an_item(document: headway_api.Document, generation: int = 1, **changes: Any) -> Item:
    """``changes`` to the spec, as the operator would have them read."""
    content = json.loads(canonical_json(document.resource))
    content["spec"] |= changes
    name = document.resource.metadata.name
    return Item(
        uid=f"uid-of-{name}",
        namespace="default",
        name=name,
        generation=generation,
        content=json.dumps(content, sort_keys=True, separators=(",", ":")).encode(),
    )


def external(generation: int = 1) -> Item:
    group = {"name": "g", "workload": "External", "selector": {"app": "vllm"}}
    return an_item(POOL, generation, groups=[group])


def a_pod(uid: str, state: PodState = PodState.READY, address: str = "10.0.0.1") -> PodEndpoint:
    return PodEndpoint(
        uid=uid,
        pool_uid="uid-of-chat",
        group="g",
        name=uid,
        address=address,
        port=8000,
        state=state,
    )


def given(*items: Item, pods: tuple[PodEndpoint, ...] = ()) -> Snapshot:
    pools = [i for i in items if i.name != "policy"]
    return snapshot(pools, [i for i in items if i.name == "policy"], pods)


def candidates(taken: Taken) -> str:
    return taken.fleet.pools[0].policy.candidates


def test_files_and_discovery_make_the_same_fleet() -> None:
    taken = Keeper().take(given(an_item(POOL), an_item(POLICY)), "a", 0.0)
    assert taken.fleet == headway_api.compile([POOL, POLICY])
    assert all(result.message == "" for result in taken.results)


def test_labels_and_order_do_not_change_a_snapshot() -> None:
    one = given(an_item(POOL), an_item(POLICY), pods=(a_pod("x"), a_pod("y")))
    other = given(an_item(POLICY), an_item(POOL), pods=(a_pod("y"), a_pod("x")))
    assert one.content_hash == other.content_hash
    assert b"team" not in (one.policies[0].content or b"")


def test_an_unknown_field_is_refused_and_the_last_good_version_stays() -> None:
    keeper = Keeper()
    keeper.take(given(an_item(POOL), an_item(POLICY)), "a", 0.0)
    new = an_item(POLICY, 2, newestConstraint=True)
    pool = an_item(POOL, 2, slo={"ttftMs": 7})
    taken = keeper.take(given(pool, new), "a", 1.0)
    by_uid = {result.uid: result for result in taken.results}
    assert "spec.newestConstraint" in by_uid["uid-of-policy"].message
    assert by_uid["uid-of-chat"].message == ""
    [there] = taken.fleet.pools
    assert there.policy.candidates == "All" and there.slo is not None
    assert taken.effective.policies[0].generation == 1


def test_a_conflict_between_items_refuses_the_one_that_changed_nothing_else() -> None:
    keeper = Keeper()
    keeper.take(given(an_item(POOL)), "a", 0.0)
    content = json.loads(an_item(POOL).content or b"")
    content["metadata"]["name"] = "twin"
    twin = Item(
        uid="uid-of-twin",
        namespace="default",
        name="twin",
        generation=1,
        content=json.dumps(content).encode(),
    )
    taken = keeper.take(given(an_item(POOL), twin), "a", 1.0)
    assert [pool.name for pool in taken.fleet.pools] == ["default/chat"]
    [refused] = [result for result in taken.results if result.message]
    assert refused.uid == "uid-of-twin" and "spec.model.name" in refused.message


def test_a_held_item_keeps_what_the_router_has() -> None:
    keeper = Keeper()
    held = Item(uid="uid-of-policy", namespace="default", name="policy", generation=2, content=None)
    assert keeper.take(given(an_item(POOL), held), "a", 0.0).fleet.pools[0].policy.candidates
    keeper = Keeper()
    keeper.take(given(an_item(POOL), an_item(POLICY)), "a", 0.0)
    taken = keeper.take(given(an_item(POOL), held), "a", 1.0)
    assert candidates(taken) == "All"
    assert {r.uid: r.generation for r in taken.results}["uid-of-policy"] == 1


def test_a_lagging_replica_changes_nothing_that_is_newer() -> None:
    keeper = Keeper()
    new = an_item(POLICY, 2, strategy={"candidates": "Pair"})
    keeper.take(given(an_item(POOL), new), "a", 0.0)
    taken = keeper.take(given(an_item(POOL), an_item(POLICY)), "b", 1.0)
    assert taken.is_stale and candidates(taken) == "Pair"
    assert not keeper.take(given(an_item(POOL), new), "b", 2.0).is_stale


def test_what_was_removed_comes_back_only_by_who_removed_it_or_after_a_minute() -> None:
    keeper = Keeper()
    both = given(an_item(POOL), an_item(POLICY))
    keeper.take(both, "a", 0.0)
    assert candidates(keeper.take(given(an_item(POOL)), "a", 1.0)) == "PairPlus"
    lagging = keeper.take(both, "b", 2.0)
    assert lagging.is_stale and candidates(lagging) == "PairPlus"
    assert candidates(keeper.take(both, "b", 1.0 + TOMBSTONE_S)) == "All"
    keeper.take(given(an_item(POOL)), "b", 100.0)
    assert candidates(keeper.take(both, "b", 101.0)) == "All"


def test_pods_are_endpoints_with_what_their_group_says() -> None:
    pods = (
        a_pod("ready", address="10.0.0.1"),
        a_pod("drains", PodState.DRAINING, "10.0.0.2"),
        a_pod("ends", PodState.TERMINATING, "fd00::3"),
        a_pod("loads", PodState.NOT_READY, "10.0.0.4"),
        a_pod("odd", address="nowhere"),
    )
    taken = Keeper().take(given(external(), pods=pods), "a", 0.0)
    states = {e.endpoint_id: e.state for e in taken.fleet.pools[0].endpoints}
    assert states == {
        "10.0.0.1:8000": EndpointState.READY,
        "10.0.0.2:8000": EndpointState.DRAINING,
        "[fd00::3]:8000": EndpointState.DRAINING,
    }
    assert taken.endpoint_uids["10.0.0.2:8000"] == "drains"


def test_an_address_that_a_pod_has_left_is_the_next_ones() -> None:
    for uids in (("a-old", "b-new"), ("b-old", "a-new")):
        old, new = uids
        pods = (a_pod(old, PodState.TERMINATING), a_pod(new))
        taken = Keeper().take(given(external(), pods=pods), "a", 0.0)
        [endpoint] = taken.fleet.pools[0].endpoints
        assert endpoint.state is EndpointState.READY
        assert taken.endpoint_uids == {"10.0.0.1:8000": new}
