"""Plans, by example: what is written, what is left, what is said."""

from copy import deepcopy
from typing import Any

import pytest

from headway_operator.errors import InvalidSpec
from headway_operator.model_pool.observed import read
from headway_operator.model_pool.plan import Plan, plan, stalled
from headway_operator.names import HANDOVER, MANAGER
from pool_objects import NOW, a_body, a_group, observed, stored

Manifest = dict[str, Any]


def planned(body: Manifest, *children: Manifest, **pods: list[Manifest]) -> Plan:
    return plan(observed(body, *children, **pods), NOW)


def applied(found: Plan) -> list[tuple[str, str]]:
    return [(a.manifest["kind"], a.manifest["metadata"]["name"]) for a in found.applies]


def conditions(found: Plan) -> dict[str, tuple[str, str]]:
    return {c.type: (c.status.value, c.reason) for c in found.status.conditions}


def status_of(found: Plan) -> Manifest:
    """As the API server stores it."""
    return found.status.model_dump(mode="json", exclude_none=True)


def test_a_new_pool_gets_a_deployment_and_a_budget_for_each_group() -> None:
    found = planned(a_body(a_group(name="a", replicas=1), a_group(name="b")))
    names = [name for _, name in applied(found)]
    assert names == ["llama-a", "llama-a", "llama-b", "llama-b"]
    assert [event.reason for event in found.events] == ["PoolCreated"]
    assert found.status.ready == "0/1"


def test_nothing_is_written_that_is_there_already() -> None:
    body = a_body()
    first = planned(body, *stored(body))
    again = planned(a_body(status=status_of(first)), *stored(body))
    assert (again.applies, again.deletions, again.events) == ((), (), ())
    assert again.status == first.status


def test_what_the_server_fills_in_is_no_difference() -> None:
    body = a_body()
    children = stored(body)
    children[0]["spec"]["revisionHistoryLimit"] = 10
    children[0]["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Always"
    assert planned(body, *children).applies == ()


def test_an_edit_is_applied_over_and_its_field_named() -> None:
    body = a_body()
    children = stored(body)
    children[0]["spec"]["template"]["spec"]["containers"][0]["image"] = "vllm:2"
    [apply] = planned(body, *children).applies
    assert apply.reverts == ("spec.template.spec.containers[engine].image",)


def test_a_new_spec_is_no_edit_of_somebody_else() -> None:
    children = stored(a_body())
    [apply] = planned(a_body(a_group(replicas=2, engine={"image": "vllm:2"})), *children).applies
    assert apply.reverts == ()


def test_replicas_that_nobody_sets_are_not_written() -> None:
    [deployment, _] = planned(a_body(a_group())).applies
    assert "replicas" not in deployment.manifest["spec"]


def test_replicas_that_were_the_operators_are_held_before_it_lets_go() -> None:
    before, after = a_body(a_group(replicas=4)), a_body(a_group())
    children = stored(before)
    owned = {"manager": MANAGER, "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    children[0]["metadata"]["managedFields"] = [owned]
    held, applied_ = planned(after, *children).applies
    assert (held.manager, held.manifest["spec"]) == (HANDOVER, {"replicas": 4})
    assert (applied_.manager, "replicas" in applied_.manifest["spec"]) == (MANAGER, False)


def test_a_new_number_of_replicas_is_said() -> None:
    found = planned(a_body(a_group(replicas=5), status={}), *stored(a_body()))
    [event] = found.events
    assert (event.reason, event.note) == ("GroupScaled", "llama-all: from 2 to 5")


def test_children_of_a_vanished_group_go_and_those_of_others_stay() -> None:
    body = a_body(a_group(name="a"), a_group(name="b"))
    foreign = {
        "kind": "Deployment",
        "metadata": {"name": "llama-c", "labels": {"headway.dev/pool": "llama"}},
    }
    found = planned(a_body(a_group(name="a")), *stored(body), foreign)
    gone = [(live["kind"], live["metadata"]["name"]) for live in found.deletions]
    assert gone == [("Deployment", "llama-b"), ("PodDisruptionBudget", "llama-b")]


def test_a_workload_of_another_owner_is_refused() -> None:
    body = a_body()
    children = stored(body)
    children[0]["metadata"]["ownerReferences"][0]["uid"] = "another"
    with pytest.raises(InvalidSpec, match="Deployment llama-all is there already"):
        planned(body, *children)


def test_a_paused_pool_keeps_its_counts_and_gets_no_writes() -> None:
    body = a_body()
    found = planned(a_body(a_group(replicas=9), paused=True), *stored(body))
    assert (found.applies, found.deletions) == ((), ())
    assert conditions(found)["Progressing"] == ("False", "Paused")
    assert found.status.ready == "2/9"


@pytest.mark.parametrize(
    ("ready", "expected"),
    [
        (2, {"Ready": ("True", "AsExpected"), "Progressing": ("False", "Stable")}),
        (1, {"Ready": ("False", "Updating"), "Progressing": ("True", "RollingOut")}),
    ],
    ids=["all pods ready", "one of two"],
)
def test_conditions_follow_the_pods(ready: int, expected: dict[str, tuple[str, str]]) -> None:
    body = a_body()
    found = planned(body, *stored(body, ready=ready))
    assert conditions(found) == {**expected, "Stalled": ("False", "AsExpected")}
    assert found.status.ready == f"{ready}/2"


def test_a_rollout_that_does_not_come_on_stalls_the_pool() -> None:
    body = a_body()
    children = stored(body, ready=0)
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    children[0]["status"]["conditions"].append({**late, "message": "no progress"})
    found = planned(body, *children)
    assert conditions(found)["Stalled"] == ("True", "ProgressDeadlineExceeded")
    assert [e.reason for e in found.events if e.type == "Warning"] == ["ProgressDeadlineExceeded"]


def test_a_pool_without_replicas_has_no_endpoints() -> None:
    body = a_body(a_group(replicas=0))
    assert conditions(planned(body, *stored(body)))["Ready"] == ("False", "NoEndpoints")


def test_a_pod_of_others_that_is_going_does_not_count() -> None:
    group = {"name": "theirs", "workload": "External", "selector": {"app": "x"}}
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    pods: list[Manifest] = [
        {"metadata": {"name": "a"}, "status": ready},
        {"metadata": {"name": "b", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": ready},
        {"metadata": {"name": "c"}, "status": {}},
    ]
    found = planned(a_body(group), theirs=pods)
    assert found.status.ready == "1/2"
    assert conditions(found)["Ready"] == ("True", "AsExpected")


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    body = a_body()
    first = planned(body, *stored(body))
    later = plan(observed(a_body(status=status_of(first)), *stored(body, ready=0)), NOW + 60)
    times = {c.type: c.last_transition_time for c in later.status.conditions}
    assert times["Stalled"] == "2027-01-15T08:00:00Z"
    assert times["Ready"] == times["Progressing"] == "2027-01-15T08:01:00Z"


def test_a_stalled_pool_says_so_once_and_keeps_its_counts() -> None:
    body = a_body()
    served = planned(body, *stored(body))
    error = InvalidSpec("spec.groups[0]", "is wrong")
    found = stalled(a_body(status=status_of(served)), error, NOW)
    assert conditions(found)["Stalled"] == ("True", "InvalidSpec")
    assert found.status.ready == "2/2"
    assert [(e.reason, e.note) for e in found.events] == [
        ("InvalidSpec", "spec.groups[0]: is wrong")
    ]
    again = stalled(a_body(status=status_of(found)), error, NOW + 60)
    assert again.events == ()
    assert again.status == found.status


def test_a_spec_of_another_version_stalls_rather_than_crashes() -> None:
    body = a_body()
    body["spec"]["groups"][0]["workload"] = "LeaderWorkerSet"
    with pytest.raises(InvalidSpec, match=r"^spec\.groups\[0\]\.workload: "):
        read(body)


def test_an_address_that_the_definition_cannot_check_is_refused() -> None:
    group = {"name": "s", "workload": "Static", "endpoints": [{"name": "a", "address": "example"}]}
    with pytest.raises(InvalidSpec, match=r"endpoints\[0\]\.address: 'example' is not an IP"):
        read(a_body(group))


def test_planning_changes_nothing_that_it_was_given() -> None:
    body = a_body()
    children = stored(body)
    before = deepcopy((body, children))
    planned(body, *children)
    assert (body, children) == before
