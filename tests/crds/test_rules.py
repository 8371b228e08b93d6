"""Rules between fields and between resources."""

from collections.abc import Callable

import pytest

Change = Callable[..., str]
Problems = Callable[..., list[str]]

POOL = """
apiVersion: headway.dev/v1alpha1
kind: ModelPool
metadata: {name: other}
spec:
  model: {name: other}
  groups:
    - name: g
      workload: Static
      endpoints: [{name: a, address: 10.9.9.9}]
"""

POLICY = """
apiVersion: headway.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: other}
spec:
  targetRefs: [{name: demo}]
"""


def test_two_groups_of_a_pool_have_different_names(serving: Change, problems: Problems) -> None:
    assert problems(serving("- name: l40s", "- name: h100")) == [
        (
            "f.yaml:31: spec.groups[1].name: 'h100' is a group of the pool already, in f.yaml:20;"
            " allowed: each once"
        )
    ]


def test_two_endpoints_of_a_group_have_different_names(demo: Change, problems: Problems) -> None:
    assert problems(demo("name: b,", "name: a,")) == [
        (
            "f.yaml:14: spec.groups[0].endpoints[1].name: 'a' is an endpoint of the group already,"
            " in f.yaml:13; allowed: each once"
        )
    ]


@pytest.mark.parametrize(
    ("one", "other", "endpoint"),
    [
        ("127.0.0.1, port: 8001", "127.0.0.1, port: 8001", "127.0.0.1:8001"),
        ('"FD00:0:0::1"', '"fd00::0001"', "[fd00::1]:8000"),
        ("127.0.0.1", "127.0.0.1, port: 8000", "127.0.0.1:8000"),
    ],
    ids=["the same text", "the same address spelled twice", "the default port spelled out"],
)
def test_two_endpoints_of_a_pool_have_different_addresses(
    one: str, other: str, endpoint: str, demo: Change, problems: Problems
) -> None:
    text = demo("127.0.0.1, port: 8001", one, "127.0.0.1, port: 8002", other)
    assert problems(text) == [
        (
            f"f.yaml:14: spec.groups[0].endpoints[1].address: '{endpoint}' is an endpoint of the"
            " pool already, in f.yaml:13; allowed: each once"
        )
    ]


def test_groups_share_the_pool_s_addresses(serving: Change, problems: Problems) -> None:
    [problem] = problems(serving('address: "fd00:0::3"', "address: 10.0.0.1"))
    assert problem.startswith("f.yaml:39: spec.groups[1].endpoints[0].address: '10.0.0.1:8100'")


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("engine-0.engines", "'engine-0.engines' is not an IP address"),
        ("10.0.0", "'10.0.0' is not an IP address"),
        ("10.0.0.256", "'10.0.0.256' is not an IP address"),
        ("10.0.0.1/32", "'10.0.0.1/32' is not an IP address"),
        ('"fe80::1%eth0"', "'fe80::1%eth0' has a zone, which is only known on one machine"),
        ("0.0.0.0", "'0.0.0.0' is not the address of one machine"),
        ('"::"', "'::' is not the address of one machine"),
        ("224.0.0.1", "'224.0.0.1' is not the address of one machine"),
    ],
)
def test_an_address_is_one_that_a_gateway_can_dial(
    address: str, problem: str, demo: Change, problems: Problems
) -> None:
    assert problems(demo("127.0.0.1, port: 8001", f"{address}, port: 8001")) == [
        (
            f"f.yaml:13: spec.groups[0].endpoints[0].address: {problem};"
            " allowed: an IP address such as 10.0.0.7 or fd00::7"
        )
    ]


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("[llama-8b, small]", "[llama-8b, llama-8b]", "12: spec.model.aliases[1]"),
        ("name: sql", "name: small", "18: spec.profile.adapters[0].name"),
        ("name: Qwen/Qwen3-32B", "name: sql", "52: spec.model.name"),
    ],
    ids=["twice in one list", "adapter and alias", "two pools"],
)
def test_a_model_name_leads_to_one_pool(
    old: str, new: str, place: str, serving: Change, problems: Problems
) -> None:
    [problem] = problems(serving(old, new))
    assert problem.startswith(f"f.yaml:{place}: ")
    assert "is a model, alias or adapter already, in f.yaml:1" in problem


def test_a_slope_needs_a_target_in_a_pool(serving: Change, problems: Problems) -> None:
    assert problems(serving("    ttftMs: 400\n", "")) == [
        (
            "f.yaml:41: spec.slo.ttftMsPer1kTokens: has no ttftMs to add to;"
            " allowed: together with ttftMs, or 0"
        )
    ]


def test_a_slope_needs_a_target_in_a_class(serving: Change, problems: Problems) -> None:
    [problem] = problems(serving("      ttftMs: 250\n", ""))
    assert "spec.sloClasses[0].ttftMsPer1kTokens: has no ttftMs to add to" in problem


def test_slo_classes_have_different_names(serving: Change, problems: Problems) -> None:
    [problem] = problems(serving("name: batch", "name: interactive"))
    assert "spec.sloClasses[1].name: 'interactive' is an SLO class of the policy al" in problem


def test_a_policy_targets_a_pool_once(demo: Change, problems: Problems) -> None:
    assert problems(demo("    - name: demo\n", "    - name: demo\n    - name: demo\n")) == [
        (
            "f.yaml:23: spec.targetRefs[1].name: 'default/demo' is a target of the policy already,"
            " in f.yaml:22; allowed: each once"
        )
    ]


def test_a_pool_has_one_policy(demo: Change, problems: Problems) -> None:
    assert problems(a=demo(), b=POLICY) == [
        (
            "b.yaml:6: spec.targetRefs[0].name: default/demo has a policy already, default/demo in"
            " a.yaml:22; allowed: one policy for a pool"
        )
    ]


def test_a_policy_targets_pools_that_exist(demo: Change, problems: Problems) -> None:
    text = demo("    - name: demo\n", "    - name: dmo\n")
    assert problems(f=text, g=POOL) == [
        (
            "f.yaml:22: spec.targetRefs[0].name: there is no ModelPool default/dmo;"
            " allowed: default/demo, default/other"
        )
    ]


def test_a_policy_targets_pools_of_its_namespace(serving: Change, problems: Problems) -> None:
    text = serving("name: chat\n  namespace: serving", "name: chat")
    [problem] = problems(text)
    assert problem.endswith("allowed: none: no ModelPool in namespace default")


@pytest.mark.parametrize(
    "pool",
    ["kind: ModelPool\nmetadata: {name: demo}\nspec: {}\n", "a: b: c\n", "kind: ModelPool\n"],
    ids=["with problems", "in a file that is no YAML", "without a name"],
)
def test_a_target_that_could_not_be_read_is_no_second_problem(
    pool: str, demo: Change, problems: Problems
) -> None:
    policy = demo().partition("---\n")[2]
    assert all(problem.startswith("pool.yaml:") for problem in problems(policy=policy, pool=pool))


def test_a_missing_target_is_found_beside_a_pool_with_problems(problems: Problems) -> None:
    broken = POOL.replace("workload: Static", "workload: Nothing")
    assert [problem.partition(": ")[0] for problem in problems(policy=POLICY, pool=broken)] == [
        "policy.yaml:6",
        "pool.yaml:9",
    ]


def test_two_resources_of_a_kind_have_different_names(demo: Change, problems: Problems) -> None:
    found = problems(a=demo(), b=POOL.replace("{name: other}\nspec", "{name: demo}\nspec"))
    assert found == [
        (
            "b.yaml:4: metadata.name: 'default/demo' is a ModelPool already, in a.yaml:5;"
            " allowed: each once"
        )
    ]


def test_a_pool_and_a_policy_may_share_a_name(
    demo: Change, compiled: Callable[[str], object]
) -> None:
    assert compiled(demo())
