"""The chart's own service accounts: the operator's has every right that it uses and no other, the
routers' has none.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from control_plane.api import Api, Refused, until
from control_plane.operator import OperatorProcess
from control_plane.plane import CHART_RULES, ControlPlane
from helm_cli import CHART, IMAGES, Helm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

NAMESPACE, POOLS = "headway-rights", "models"
RBAC = "apis/rbac.authorization.k8s.io/v1"
ROLE = f"{RBAC}/clusterroles/{NAMESPACE}:headway-operator"
LEADER = f"{RBAC}/namespaces/{NAMESPACE}/roles/headway-operator-leader"
LEASE = f"apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/headway-operator"
OPERATOR_USER = f"system:serviceaccount:{NAMESPACE}:headway-operator"
GOOD = Path(__file__).parent.parent / "fixtures" / "admission" / "good"

RULES = [
    *((ROLE, number, rule) for number, rule in enumerate(yaml.safe_load(CHART_RULES.read_text()))),
    (LEADER, 0, {"resources": ["leases"], "verbs": ["create"]}),
    (LEADER, 1, {"resources": ["leases"], "verbs": ["get", "update"]}),
]
APPLIED = {"create", "patch"}
"""An apply that makes an object is a patch that needs both; only the patch is on record."""
CASES = [(*rule, set(rule[2]["verbs"])) for rule in RULES]
CASES += [(*rule, {"create"}) for rule in RULES if set(rule[2]["verbs"]) >= APPLIED]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    plane: ControlPlane
    api: Api
    """The administrator."""

    def token(self, account: str) -> str:
        path = f"api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token: str = self.api.call("POST", path, asked)["status"]["token"]
        return token


@pytest.fixture(scope="module")
def release(
    bare_cluster: ControlPlane, helm_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    api = bare_cluster.admin
    helm = Helm(helm_binary, tmp_path_factory.mktemp("helm"), bare_cluster.kubeconfig("admin"))
    where = ("--namespace", NAMESPACE)
    # The definitions may be those that another test's release has left.
    flags = ("--create-namespace", "--take-ownership")
    helm.run("install", "headway", str(CHART), *where, *flags, values=IMAGES)
    api.create_namespace(POOLS)
    pools = f"apis/headway.dev/v1alpha1/namespaces/{POOLS}/modelpools"
    until(lambda: api.serves(pools), "the definitions are served")
    yield Release(plane=bare_cluster, api=api)
    for pool in api.list("ModelPool", POOLS):
        api.delete("ModelPool", POOLS, pool["metadata"]["name"])
    helm.run("uninstall", "headway", *where)


@pytest.fixture(scope="module")
def operator(
    release: Release, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    user = release.plane.kubeconfig("chart-operator", release.token("headway-operator"))
    process = OperatorProcess(
        release.plane,
        tmp_path_factory.mktemp("operator"),
        *("--resync-seconds", "0.3", "--lease-namespace", NAMESPACE),
        *("--lease-name", "headway-operator"),
        user=user,
    )
    try:
        process.wait_for("leader.elected")
        yield process
    finally:
        process.stop()


def forbidden(operator: OperatorProcess) -> list[tuple[str, str]]:
    """Verb and resource of every answer 403 so far."""
    found = re.findall(r'403[^\n]*?cannot (\w+) resource \\*"([\w/]+)\\*"', operator.log())
    return [(verb, resource) for verb, resource in found]


def make_pools(api: Api, name: str) -> dict[str, Any]:
    """One that the operator runs, which is returned, and one that others run; and a policy."""
    made = []
    for example in ("mixed", "external"):
        pool = yaml.safe_load((GOOD / f"{example}.yaml").read_text())
        pool["metadata"] |= {"namespace": POOLS, "name": f"{name}-{example}"}
        api.create(pool)
        made.append(pool)
    policy = yaml.safe_load((GOOD / "policy-smallest.yaml").read_text())
    policy["metadata"] |= {"namespace": POOLS, "name": name}
    policy["spec"]["targetRefs"] = [{"name": f"{name}-mixed"}]
    api.create(policy)
    return dict(made[0])


def observed(api: Api, name: str) -> Callable[[], bool]:
    def look() -> bool:
        pool = api.get("ModelPool", POOLS, name)
        generation = pool.get("status", {}).get("observedGeneration")
        return bool(generation == pool["metadata"]["generation"])

    return look


def test_with_all_of_them_nothing_is_forbidden_and_each_verb_is_used(
    release: Release, operator: OperatorProcess
) -> None:
    api = release.api
    pool = make_pools(api, "all")
    until(observed(api, "all-mixed"), "the pool's status is written")
    until(lambda: len(api.list("Deployment", POOLS)) == 2, "its workloads are made")
    until(lambda: api.list("Event", POOLS), "an Event says so")
    del pool["spec"]["groups"][1]
    api.merge("ModelPool", POOLS, "all-mixed", {"spec": pool["spec"]})
    until(lambda: len(api.list("Deployment", POOLS)) == 1, "a workload goes with its group")
    until(lambda: len(api.list("PodDisruptionBudget", POOLS)) == 1, "and its budget")
    assert forbidden(operator) == []
    rules = [rule for role in (ROLE, LEADER) for rule in api.call("GET", role)["rules"]]
    allowed = {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }

    def used() -> bool:
        on_record = release.plane.audited(OPERATOR_USER)
        by_apply = {(*asked, "create") for *asked, verb in on_record if verb == "patch"}
        return on_record | (by_apply & allowed) == allowed

    until(used, f"it asks for all of {sorted(allowed)} and nothing else")


@pytest.mark.parametrize(
    ("role", "number", "rule", "verbs"),
    CASES,
    ids=[f"{'+'.join(rule['resources'])} {'+'.join(sorted(verbs))}" for _, _, rule, verbs in CASES],
)
def test_without_a_rule_what_it_is_for_is_forbidden(
    release: Release,
    operator: OperatorProcess,
    role: str,
    number: int,
    rule: dict[str, Any],
    verbs: set[str],
) -> None:
    api = release.api
    name = f"without-{CASES.index((role, number, rule, verbs))}"
    rules = api.call("GET", role)["rules"]
    assert rules[number].items() >= rule.items()
    rest = [verb for verb in rule["verbs"] if verb not in verbs]
    changed = [{**rules[number], "verbs": rest}] if rest else []
    before = len(forbidden(operator))
    set_rules(api, role, [*rules[:number], *changed, *rules[number + 1 :]])
    try:
        if (role, verbs) == (LEADER, {"create"}):
            api.call("DELETE", LEASE)  # so that there is one to make
        make_pools(api, name)
        denied = until(lambda: forbidden(operator)[before:], f"403 without {verbs} of {rule}")
    finally:
        set_rules(api, role, rules)
    assert {resource for _, resource in denied} == set(rule["resources"])
    assert {verb for verb, _ in denied} <= verbs
    until(observed(api, f"{name}-mixed"), "with the rule all is well again")


def set_rules(api: Api, role: str, rules: list[dict[str, Any]]) -> None:
    api.call("PATCH", role, {"rules": rules}, kind="application/merge-patch+json")


def test_the_routers_account_may_do_nothing(release: Release) -> None:
    """Beyond what every authenticated user may: ask who it is and which APIs there are."""
    router = Api(release.api.server, release.api.ca, release.token("headway-router"))

    def rights(api: Api) -> list[str]:
        asked = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": NAMESPACE},
        }
        path = "apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        status = api.call("POST", path, asked)["status"]
        rules = [*status["resourceRules"], *status["nonResourceRules"]]
        return sorted(json.dumps(rule, sort_keys=True) for rule in rules)

    nobody = Api(release.api.server, release.api.ca, release.token("default"))
    assert rights(router) == rights(nobody)
    for path in ("modelpools", "routingpolicies"):
        assert is_forbidden(router, f"apis/headway.dev/v1alpha1/{path}")
    for path in ("pods", "secrets", "configmaps", f"namespaces/{NAMESPACE}/pods"):
        assert is_forbidden(router, f"api/v1/{path}")


def is_forbidden(api: Api, path: str) -> bool:
    try:
        api.call("GET", path)
    except Refused as refused:
        return refused.code == 403
    return False
