"""The operator on a real API server, with the controllers that make pods and collect garbage."""

from collections.abc import Callable
from typing import Any

import pytest

from control_plane.api import Api, until
from control_plane.operator import OperatorProcess
from control_plane.plane import ControlPlane

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

Good = Callable[[str], dict[str, Any]]


@pytest.fixture
def api(control_plane: ControlPlane, operator: OperatorProcess) -> Api:
    """The API server, while an operator runs."""
    return control_plane.admin


def created(api: Api, pool: dict[str, Any]) -> dict[str, Any]:
    """The pool, once the operator has seen to it."""
    api.create(pool)
    return settled(api, pool["metadata"]["namespace"], pool["metadata"]["name"])


def settled(api: Api, namespace: str, name: str) -> dict[str, Any]:
    """The pool, once its status is about its present spec."""

    def look() -> dict[str, Any] | None:
        pool: dict[str, Any] = api.get("ModelPool", namespace, name)
        seen = pool.get("status", {}).get("observedGeneration")
        return pool if seen == pool["metadata"]["generation"] else None

    return until(look, f"the operator sees the spec of {name}")


def condition(pool: dict[str, Any], type_: str) -> dict[str, Any]:
    [found] = [c for c in pool["status"]["conditions"] if c["type"] == type_]
    return dict(found)


def events(api: Api, namespace: str, reason: str) -> list[str]:
    return [e["note"] for e in api.list("Event", namespace) if e["reason"] == reason]


def versions(api: Api, namespace: str) -> dict[str, str]:
    """Resource versions of all that the operator writes in the namespace."""
    ours = [
        (kind, item)
        for kind in ("ModelPool", "Deployment", "PodDisruptionBudget", "Event")
        for item in api.list(kind, namespace)
        if kind != "Event" or item["reportingController"] == "headway.dev/operator"
    ]
    return {
        f"{kind} {item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for kind, item in ours
    }


def quiet(api: Api, namespace: str, operator: OperatorProcess, looks: int = 1) -> dict[str, str]:
    """``versions``, once they stay the same while the operator looks at every pool."""

    def look() -> dict[str, str] | None:
        before = versions(api, namespace)
        for pool in api.list("ModelPool", namespace):
            operator.wait_for_looks(f"{namespace}/{pool['metadata']['name']}", looks)
        return before if versions(api, namespace) == before else None

    return until(look, "the namespace comes to rest")


def test_a_pool_gets_its_workloads_and_its_status(api: Api, namespace: str, good: Good) -> None:
    pool = created(api, good("mixed"))
    deployments = {d["metadata"]["name"]: d for d in api.list("Deployment", namespace)}
    assert deployments.keys() == {"mixed-h100", "mixed-l40s"}
    h100 = deployments["mixed-h100"]
    assert h100["spec"]["replicas"] == 4
    assert h100["metadata"]["ownerReferences"][0]["uid"] == pool["metadata"]["uid"]
    [engine] = h100["spec"]["template"]["spec"]["containers"]
    assert engine["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert "--tensor-parallel-size" in engine["args"]
    budgets = {b["metadata"]["name"] for b in api.list("PodDisruptionBudget", namespace)}
    assert budgets == {"mixed-h100", "mixed-l40s"}
    until(lambda: len(api.list("Pod", namespace)) == 5, "the Deployments make their pods")
    status = until(lambda: made(api, namespace, "mixed", 5), "the status counts the pods")
    assert status["ready"] == "0/5"
    assert [g["replicas"] for g in status["groups"]] == [4, 1]
    until(lambda: events(api, namespace, "PoolCreated"), "an Event says so")


def test_kubectl_get_shows_how_it_is(api: Api, namespace: str, good: Good) -> None:
    created(api, good("mixed"))
    until(lambda: made(api, namespace, "mixed", 5), "the status counts the pods")
    table = api.call(
        "GET",
        f"apis/headway.dev/v1alpha1/namespaces/{namespace}/modelpools",
        accept="application/json;as=Table;g=meta.k8s.io;v=v1",
    )
    names = [column["name"] for column in table["columnDefinitions"]]
    [row] = [dict(zip(names, row["cells"], strict=True)) for row in table["rows"]]
    assert row | {"Age": None} == {
        "Name": "mixed",
        "Model": "meta-llama/Llama-3.1-8B-Instruct",
        "Ready": "0/5",
        "Available": "False",
        "Hit%": None,
        "TTFT": None,
        "SLO%": None,
        "Queue": None,
        "Reason": "Updating",
        "Age": None,
    }


def made(api: Api, namespace: str, name: str, replicas: int) -> dict[str, Any] | None:
    status = api.get("ModelPool", namespace, name).get("status", {})
    return dict(status) if status.get("replicas") == replicas else None


def test_looking_again_writes_nothing(
    api: Api, namespace: str, good: Good, operator: OperatorProcess
) -> None:
    for name in ("mixed", "standalone", "external"):
        created(api, good(name))
    before = quiet(api, namespace, operator)
    for name in ("mixed", "standalone", "external"):
        operator.wait_for_looks(f"{namespace}/{name}", 3)
    assert versions(api, namespace) == before


def test_an_edit_is_reverted_once_and_said_once(
    api: Api, namespace: str, good: Good, operator: OperatorProcess
) -> None:
    created(api, good("scaled"))
    quiet(api, namespace, operator)
    edit = {"spec": {"replicas": 7, "progressDeadlineSeconds": 90}}
    edited = api.merge("Deployment", namespace, "scaled-all", edit)
    assert edited["spec"]["replicas"] == 7

    def reverted() -> bool:
        spec = api.get("Deployment", namespace, "scaled-all")["spec"]
        return bool(spec["replicas"] == 3 and spec["progressDeadlineSeconds"] == 1800)

    until(reverted, "the edit is reverted")
    quiet(api, namespace, operator)
    assert events(api, namespace, "EditReverted") == [
        "Deployment scaled-all: spec.progressDeadlineSeconds, spec.replicas"
    ]


def test_what_others_add_to_a_workload_stays(
    api: Api, namespace: str, good: Good, operator: OperatorProcess
) -> None:
    created(api, good("scaled"))
    api.merge(
        "Deployment", namespace, "scaled-all", {"metadata": {"annotations": {"example.com/a": "b"}}}
    )
    quiet(api, namespace, operator)
    live = api.get("Deployment", namespace, "scaled-all")
    assert live["metadata"]["annotations"]["example.com/a"] == "b"
    assert events(api, namespace, "EditReverted") == []


def test_replicas_that_an_autoscaler_sets_are_never_written(
    api: Api, namespace: str, good: Good, operator: OperatorProcess
) -> None:
    created(api, good("mixed"))
    api.merge("Deployment", namespace, "mixed-l40s", {"spec": {"replicas": 6}}, "scale")
    quiet(api, namespace, operator)
    assert api.get("Deployment", namespace, "mixed-l40s")["spec"]["replicas"] == 6
    changed = {"spec": {"engine": {"port": 8100}}}  # the Deployment is written, its replicas not
    api.merge("ModelPool", namespace, "mixed", changed)
    settled(api, namespace, "mixed")
    live = api.get("Deployment", namespace, "mixed-l40s")
    assert "8100" in live["spec"]["template"]["spec"]["containers"][0]["args"]
    assert live["spec"]["replicas"] == 6
    assert events(api, namespace, "EditReverted") == []


def test_replicas_stay_as_they_are_when_the_operator_lets_go_of_them(
    api: Api, namespace: str, good: Good, operator: OperatorProcess
) -> None:
    pool = good("mixed")
    created(api, pool)
    del pool["spec"]["groups"][0]["replicas"]
    api.merge("ModelPool", namespace, "mixed", {"spec": pool["spec"]})
    settled(api, namespace, "mixed")
    quiet(api, namespace, operator)
    assert api.get("Deployment", namespace, "mixed-h100")["spec"]["replicas"] == 4
    api.merge("Deployment", namespace, "mixed-h100", {"spec": {"replicas": 2}}, "scale")
    quiet(api, namespace, operator)
    assert api.get("Deployment", namespace, "mixed-h100")["spec"]["replicas"] == 2


def test_a_pool_of_one_group_is_scaled_by_its_scale(api: Api, namespace: str, good: Good) -> None:
    created(api, good("scaled"))
    scale = api.merge("ModelPool", namespace, "scaled", {"spec": {"replicas": 5}}, "scale")
    assert scale["status"]["selector"] == "headway.dev/pool=scaled"
    settled(api, namespace, "scaled")
    assert api.get("Deployment", namespace, "scaled-all")["spec"]["replicas"] == 5
    until(lambda: events(api, namespace, "GroupScaled") == ["scaled-all: from 3 to 5"], "an Event")


def test_a_contradiction_stalls_the_pool_and_leaves_its_workloads(
    api: Api, namespace: str, good: Good, operator: OperatorProcess
) -> None:
    pool = good("scaled")
    created(api, pool)
    before = api.get("Deployment", namespace, "scaled-all")["metadata"]["generation"]
    container = pool["spec"]["groups"][0]["template"]["spec"]["containers"][0]
    container["args"] = ["--port", "9000"]
    api.merge("ModelPool", namespace, "scaled", {"spec": pool["spec"]})
    stalled = condition(settled(api, namespace, "scaled"), "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "InvalidSpec")
    assert stalled["message"] == (
        "spec.groups[0].template.spec.containers[engine].args: --port 9000 contradicts"
        " spec.engine.port, which makes it 8000"
    )
    quiet(api, namespace, operator)
    assert events(api, namespace, "InvalidSpec") == [stalled["message"]]
    assert api.get("Deployment", namespace, "scaled-all")["metadata"]["generation"] == before
    container["args"] = ["--port", "8000"]
    api.merge("ModelPool", namespace, "scaled", {"spec": pool["spec"]})
    assert condition(settled(api, namespace, "scaled"), "Stalled")["status"] == "False"


def test_a_template_that_only_the_server_can_refuse_stalls_the_pool(
    api: Api, namespace: str, good: Good
) -> None:
    pool = good("scaled")
    pool["spec"]["groups"][0]["template"]["spec"]["restartPolicy"] = "Sometimes"
    stalled = condition(created(api, pool), "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "InvalidSpec")
    assert "restartPolicy" in stalled["message"]
    assert api.list("Deployment", namespace) == []


def test_a_workload_of_somebody_else_is_not_taken_over(
    api: Api, namespace: str, good: Good
) -> None:
    labels = {"app": "mine"}
    pod = {"containers": [{"name": "engine", "image": "example.com/mine"}]}
    theirs = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "scaled-all", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    api.create(theirs)
    stalled = condition(created(api, good("scaled")), "Stalled")
    assert "Deployment scaled-all is there already" in stalled["message"]
    live = api.get("Deployment", namespace, "scaled-all")
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "example.com/mine"
    assert "ownerReferences" not in live["metadata"]


def test_a_paused_pool_is_looked_at_and_left_alone(
    api: Api, namespace: str, good: Good, operator: OperatorProcess
) -> None:
    created(api, good("scaled"))
    api.merge("ModelPool", namespace, "scaled", {"spec": {"paused": True, "replicas": 9}})
    pool = settled(api, namespace, "scaled")
    assert condition(pool, "Progressing")["reason"] == "Paused"
    quiet(api, namespace, operator)
    assert api.get("Deployment", namespace, "scaled-all")["spec"]["replicas"] == 3
    api.merge("ModelPool", namespace, "scaled", {"spec": {"paused": False}})
    settled(api, namespace, "scaled")
    assert api.get("Deployment", namespace, "scaled-all")["spec"]["replicas"] == 9


def test_the_workloads_of_a_vanished_group_go(api: Api, namespace: str, good: Good) -> None:
    pool = good("mixed")
    created(api, pool)
    api.merge("ModelPool", namespace, "mixed", {"spec": {"groups": pool["spec"]["groups"][1:]}})
    settled(api, namespace, "mixed")
    kinds = ("Deployment", "PodDisruptionBudget")

    def left() -> list[str]:
        return [item["metadata"]["name"] for kind in kinds for item in api.list(kind, namespace)]

    until(lambda: left() == ["mixed-l40s", "mixed-l40s"], "one of each is left")


def test_a_deleted_pool_leaves_nothing(api: Api, namespace: str, good: Good) -> None:
    created(api, good("mixed"))
    until(lambda: len(api.list("Pod", namespace)) == 5, "the Deployments make their pods")
    assert "finalizers" not in api.get("ModelPool", namespace, "mixed")["metadata"]
    api.delete("ModelPool", namespace, "mixed")
    owned = ("Deployment", "ReplicaSet", "Pod", "PodDisruptionBudget")
    until(lambda: not any(api.list(kind, namespace) for kind in owned), "all is collected")


def test_pods_of_others_are_counted_by_their_selector(api: Api, namespace: str, good: Good) -> None:
    for name, app in (("a", "qwen-32b"), ("b", "qwen-32b"), ("c", "other")):
        api.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": namespace, "labels": {"app": app}},
                "spec": {"containers": [{"name": "engine", "image": "example.com/engine"}]},
            }
        )
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    api.merge("Pod", namespace, "a", ready, "status")
    pool = created(api, good("external"))
    assert pool["status"]["ready"] == "1/2"
    assert condition(pool, "Ready")["status"] == "True"
    assert api.list("Deployment", namespace) == []


def test_addresses_are_counted_but_not_probed(api: Api, namespace: str, good: Good) -> None:
    pool = created(api, good("standalone"))
    assert pool["status"]["ready"] == "?/3"
    ready = condition(pool, "Ready")
    assert (ready["status"], ready["reason"]) == ("Unknown", "NotProbed")
