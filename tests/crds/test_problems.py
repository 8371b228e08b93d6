"""What is wrong with a field: the line, the field, the problem, what is allowed."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

Change = Callable[..., str]
Problems = Callable[..., list[str]]

NAMES = "1 to 40 characters: lower-case letters, digits and inner '-'"


@dataclass(frozen=True, kw_only=True)
class Case:
    """The good document with ``old`` replaced has this one problem."""

    old: str
    new: str
    line: int
    field: str
    problem: str
    allowed: str


CASES: dict[str, Case] = {
    "a port above the range": Case(
        old="port: 8001",
        new="port: 70000",
        line=13,
        field="spec.groups[0].endpoints[0].port",
        problem="70000 is too large",
        allowed="an integer from 1 to 65535",
    ),
    "a port below the range": Case(
        old="port: 8001",
        new="port: 0",
        line=13,
        field="spec.groups[0].endpoints[0].port",
        problem="0 is too small",
        allowed="an integer from 1 to 65535",
    ),
    "a port in quotes": Case(
        old="port: 8001",
        new='port: "8001"',
        line=13,
        field="spec.groups[0].endpoints[0].port",
        problem="'8001' is a string, not an integer",
        allowed="an integer from 1 to 65535",
    ),
    "a port with a fraction": Case(
        old="port: 8001",
        new="port: 8001.5",
        line=13,
        field="spec.groups[0].endpoints[0].port",
        problem="8001.5 is a number in YAML, not an integer",
        allowed="an integer from 1 to 65535",
    ),
    "a whole number written as a float": Case(
        old="port: 8001",
        new="port: 8001.0",
        line=13,
        field="spec.groups[0].endpoints[0].port",
        problem="8001.0 is a number in YAML, not an integer",
        allowed="an integer from 1 to 65535",
    ),
    "a boolean for a number": Case(
        old="port: 8001",
        new="port: on",
        line=13,
        field="spec.groups[0].endpoints[0].port",
        problem="on is a boolean in YAML, not an integer",
        allowed="an integer from 1 to 65535",
    ),
    "a boolean for a string": Case(
        old="name: tiny",
        new="name: off",
        line=8,
        field="spec.model.name",
        problem='off is a boolean in YAML; for the string write "off" in quotes',
        allowed="a string of 1 to 253 characters",
    ),
    "a number for a string": Case(
        old="name: tiny",
        new="name: 3.10",
        line=8,
        field="spec.model.name",
        problem='3.10 is a number in YAML; for the string write "3.10" in quotes',
        allowed="a string of 1 to 253 characters",
    ),
    "a boolean for one of several strings": Case(
        old="    - name: demo\n",
        new="    - name: demo\n  flowControl: {mode: off}\n",
        line=23,
        field="spec.flowControl.mode",
        problem='off is a boolean in YAML; for the string write "off" in quotes',
        allowed="Enabled or Disabled",
    ),
    "a number for a boolean": Case(
        old="    - name: demo\n",
        new="    - name: demo\n  sloClasses:\n    - name: batch\n      sheddable: 1\n",
        line=25,
        field="spec.sloClasses[0].sheddable",
        problem="1 is a number in YAML, not a boolean",
        allowed="true or false",
    ),
    "one of several strings in the wrong case": Case(
        old="    - name: demo\n",
        new="    - name: demo\n  flowControl: {order: fcfs}\n",
        line=23,
        field="spec.flowControl.order",
        problem="'fcfs' is not allowed, did you mean 'FCFS'?",
        allowed="Triage, HitFirst, FCFS, SRPT or EDF",
    ),
    "a field with a typing error": Case(
        old="port: 8001",
        new="prot: 8001",
        line=13,
        field="spec.groups[0].endpoints[0].prot",
        problem="unknown field, did you mean 'port'?",
        allowed="name, address, port",
    ),
    "a field in snake case": Case(
        old="    name: tiny\n",
        new="    name: tiny\n  engine:\n    metrics_path: /metrics\n",
        line=10,
        field="spec.engine.metrics_path",
        problem="unknown field, did you mean 'metricsPath'?",
        allowed="port, metricsPath",
    ),
    "an empty field that does not exist": Case(
        old="    name: tiny\n",
        new="    name: tiny\n  banana:\n",
        line=9,
        field="spec.banana",
        problem="unknown field",
        allowed=("model, engine, groups, replicas, drain, availability, paused, profile, slo"),
    ),
    "a pool field of a later version": Case(
        old="    name: tiny\n",
        new="    name: tiny\n  disaggregation: {prefillPerDecode: '0.5'}\n",
        line=9,
        field="spec.disaggregation",
        problem="not supported by this version of Headway",
        allowed=("model, engine, groups, replicas, drain, availability, paused, profile, slo"),
    ),
    "a group field of a later version": Case(
        old="      workload: Static\n",
        new="      workload: Static\n      autoscaling: {maxReplicas: 2}\n",
        line=12,
        field="spec.groups[0].autoscaling",
        problem="not supported by this version of Headway",
        allowed=(
            "name, role, workload, accelerator, parallelism, replicas, selector, endpoints,"
            " template, capacity, rollout"
        ),
    ),
    "a policy field of a later version": Case(
        old="    - name: demo\n",
        new="    - name: demo\n  modelSelection: {mode: Shadow}\n",
        line=23,
        field="spec.modelSelection",
        problem="not supported by this version of Headway",
        allowed="targetRefs, strategy, sloClasses, flowControl, resilience, observability",
    ),
    "a target of a later version": Case(
        old="    - name: demo\n",
        new="    - name: demo\n      kind: InferencePool\n",
        line=23,
        field="spec.targetRefs[0].kind",
        problem="InferencePool is not supported by this version of Headway",
        allowed="ModelPool",
    ),
    "an unknown prefix mode": Case(
        old="    - name: demo\n",
        new="    - name: demo\n  strategy: {affinity: {prefix: {mode: Exact}}}\n",
        line=23,
        field="spec.strategy.affinity.prefix.mode",
        problem="'Exact' is not allowed",
        allowed="Approximate, Precise or Disabled",
    ),
    "a missing field": Case(
        old="  model:\n    name: tiny\n",
        new="",
        line=6,
        field="spec.model",
        problem="missing",
        allowed="a mapping with name, aliases",
    ),
    "a field whose contents are all commented out": Case(
        old="    name: tiny\n",
        new="    # name: tiny\n",
        line=7,
        field="spec.model",
        problem="missing",
        allowed="a mapping with name, aliases",
    ),
    "a list where a mapping belongs": Case(
        old="    name: tiny\n",
        new="    - name: tiny\n",
        line=7,
        field="spec.model",
        problem="a list where a mapping is wanted",
        allowed="a mapping with name, aliases",
    ),
    "a string where a list belongs": Case(
        old="    name: tiny\n",
        new="    name: tiny\n    aliases: small\n",
        line=9,
        field="spec.model.aliases",
        problem="'small' where a list is wanted",
        allowed="a list of at most 16",
    ),
    "an empty item of a list": Case(
        old="    name: tiny\n",
        new="    name: tiny\n    aliases:\n      -\n",
        line=10,
        field="spec.model.aliases[0]",
        problem="nothing, not a string",
        allowed="a string of 1 to 253 characters",
    ),
    "an empty string": Case(
        old="name: tiny",
        new="name: ''",
        line=8,
        field="spec.model.name",
        problem="is empty",
        allowed="a string of 1 to 253 characters",
    ),
    "a string that is too long": Case(
        old="name: tiny",
        new=f"name: {'x' * 254}",
        line=8,
        field="spec.model.name",
        problem=f"'{'x' * 56}... is too long, 254 characters",
        allowed="a string of 1 to 253 characters",
    ),
    "a name in the wrong alphabet": Case(
        old="name: local",
        new="name: Local_1",
        line=10,
        field="spec.groups[0].name",
        problem="'Local_1' does not match",
        allowed=NAMES,
    ),
    "a list that is too long": Case(
        old="    name: tiny\n",
        new=f"    name: tiny\n    aliases: [{', '.join(f'a{i}' for i in range(17))}]\n",
        line=9,
        field="spec.model.aliases",
        problem="has 17 entries",
        allowed="a list of at most 16",
    ),
    "an empty list that must not be": Case(
        old="    - name: demo\n",
        new="    []\n",
        line=21,
        field="spec.targetRefs",
        problem="has 0 entries",
        allowed="a list of 1 to 16",
    ),
    "too many attempts": Case(
        old="    - name: demo\n",
        new="    - name: demo\n  resilience:\n    maxAttempts: 5\n",
        line=24,
        field="spec.resilience.maxAttempts",
        problem="5 is too large",
        allowed="an integer from 1 to 2",
    ),
    "an API version that is not served": Case(
        old="apiVersion: headway.dev/v1alpha1\nkind: ModelPool",
        new="apiVersion: headway.dev/v1\nkind: ModelPool",
        line=2,
        field="apiVersion",
        problem="'headway.dev/v1' is not allowed, did you mean 'headway.dev/v1alpha1'?",
        allowed="headway.dev/v1alpha1",
    ),
    "a kind that does not exist": Case(
        old="kind: ModelPool",
        new="kind: ModelPol",
        line=3,
        field="kind",
        problem="'ModelPol' is not a kind of headway.dev/v1alpha1, did you mean 'ModelPool'?",
        allowed="ModelPool or RoutingPolicy",
    ),
    "no kind": Case(
        old="kind: ModelPool\n",
        new="",
        line=2,
        field="kind",
        problem="missing",
        allowed="ModelPool or RoutingPolicy",
    ),
    "a label that is no string": Case(
        old="  name: demo\nspec:\n  model",
        new="  name: demo\n  labels:\n    canary: true\nspec:\n  model",
        line=7,
        field="metadata.labels.canary",
        problem='true is a boolean in YAML; for the string write "true" in quotes',
        allowed="a string of 0 to 262144 characters",
    ),
    "a status, as the cluster writes it": Case(
        old="spec:\n  model:",
        new="status: {}\nspec:\n  model:",
        line=6,
        field="status",
        problem="unknown field",
        allowed="apiVersion, metadata, kind, spec",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_problem_says_where_what_and_what_is_allowed(
    case: str, demo: Change, problems: Problems
) -> None:
    wanted = CASES[case]
    assert problems(demo(wanted.old, wanted.new)) == [
        f"f.yaml:{wanted.line}: {wanted.field}: {wanted.problem}; allowed: {wanted.allowed}"
    ]


def test_every_problem_of_every_file_is_reported_in_order(demo: Change, problems: Problems) -> None:
    one = demo("port: 8001", "port: 0", "name: tiny", "name: off", "name: local", "nmae: local")
    two = demo("kind: ModelPool", "kind: Pool").replace("\n    - name: demo", "\n    - nam: demo")
    assert [problem.partition(": ")[0] for problem in problems(b=one, a=two)] == [
        "a.yaml:3",
        "a.yaml:22",
        "a.yaml:22",
        "b.yaml:8",
        "b.yaml:10",
        "b.yaml:10",
        "b.yaml:13",
    ]


def test_entries_that_are_wrong_count_as_entries(demo: Change, problems: Problems) -> None:
    found = problems(demo("workload: Static", "workload: Dynamic"))
    assert found == [
        (
            "f.yaml:11: spec.groups[0].workload: 'Dynamic' is not allowed;"
            " allowed: Deployment, External or Static"
        )
    ]


def test_a_group_that_only_an_operator_can_find_is_a_problem(
    demo: Change, problems: Problems
) -> None:
    """Also where the workload was forgotten, as Deployment is the default."""
    for text in (
        demo("workload: Static", "workload: Deployment"),
        demo("      workload: Static\n", ""),
    ):
        assert [problem.partition(": ")[2] for problem in problems(text)] == [
            (
                "spec.groups[0].template: belongs to workload Deployment, which needs it;"
                " allowed: with workload Deployment, and only there"
            ),
            (
                "spec.groups[0].workload: Deployment needs the operator, which is not there;"
                " allowed: Static in stand-alone mode"
            ),
            (
                "spec.groups[0].endpoints: belongs to workload Static, which needs it;"
                " allowed: with workload Static, and only there"
            ),
        ]


def test_a_configuration_without_documents_is_a_problem(problems: Problems) -> None:
    assert problems("# nothing yet\n---\n") == [
        "test: has no documents; allowed: at least one ModelPool in a .yaml or .yml file"
    ]
