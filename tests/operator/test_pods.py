"""What vLLM needs in a pod, and what happens where the template says otherwise."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_operator.errors import InvalidSpec
from pool_objects import a_body, a_group, deployment


def pod_spec(*groups: dict[str, Any], **spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = deployment(a_body(*groups, **spec))["spec"]["template"]["spec"]
    return found


def engine(*groups: dict[str, Any], **spec: Any) -> dict[str, Any]:
    [container] = pod_spec(*groups, **spec)["containers"]
    return dict(container)


def test_an_engine_is_named_probed_drained_and_listens() -> None:
    found = engine()
    assert found["args"] == ["--served-model-name", "tiny", "--shutdown-timeout", "120"]
    assert found["ports"] == [{"name": "http", "containerPort": 8000, "protocol": "TCP"}]
    assert found["startupProbe"]["httpGet"] == {"path": "/health", "port": 8000}
    assert found["readinessProbe"]["httpGet"] == {"path": "/health", "port": 8000}
    assert found["lifecycle"] == {"preStop": {"sleep": {"seconds": 15}}}
    assert pod_spec()["terminationGracePeriodSeconds"] == 15 + 120 + 10


def test_other_containers_and_fields_stay_as_they_are() -> None:
    side = {"name": "proxy", "image": "proxy:1"}
    pod = {"containers": [side, {"name": "engine", "image": "vllm:1"}], "nodeSelector": {"a": "b"}}
    found = pod_spec({"name": "all", "template": {"spec": pod}})
    assert found["containers"][0] == side
    assert found["nodeSelector"] == {"a": "b"}


def test_a_probe_of_the_user_wins() -> None:
    probe = {"tcpSocket": {"port": 8000}}
    assert engine(a_group(engine={"readinessProbe": probe}))["readinessProbe"] == probe


def test_an_argument_that_says_the_same_is_not_repeated() -> None:
    args = ["--model", "m", "--tensor_parallel_size=2", "--served-model-name", "b", "a"]
    group = a_group(engine={"args": args}, parallelism={"tensor": 2})
    found = engine(group, model={"name": "a", "aliases": ["b"]})
    assert found["args"] == [*args, "--shutdown-timeout", "120"]


@pytest.mark.parametrize(
    ("container", "problem"),
    [
        (
            {"args": ["-tp", "4"]},
            (
                "args: --tensor-parallel-size 4 contradicts the group's parallelism.tensor,"
                " which makes it 1"
            ),
        ),
        (
            {"command": ["vllm", "serve", "m", "--port=80"]},
            "args: --port 80 contradicts spec.engine.port, which makes it 8000",
        ),
        (
            {"args": ["--served-model-name", "other"]},
            "args: --served-model-name other contradicts spec.model, which makes it tiny",
        ),
        (
            {"args": ["--shutdown-timeout", "5"]},
            "args: --shutdown-timeout 5 contradicts spec.drain.timeoutSeconds, which makes it 120",
        ),
        (
            {"command": ["/bin/sh", "-c", "vllm serve m"]},
            "command: /bin/sh would not pass arguments on; name the engine itself",
        ),
        ({"args": "--port 80"}, "args: is no list of strings"),
        (
            {"ports": [{"name": "http", "containerPort": 9}]},
            "ports: http is 9, spec.engine.port says 8000",
        ),
        (
            {"resources": {"limits": {"nvidia.com/gpu": 8}}},
            "resources.limits: nvidia.com/gpu is 8, accelerator.countPerReplica says 1",
        ),
    ],
    ids=[
        "parallel size",
        "port",
        "name",
        "shutdown timeout",
        "a shell",
        "no list",
        "another port",
        "another number of accelerators",
    ],
)
def test_a_contradiction_is_named_with_both_sides(container: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        engine(a_group(engine=container, accelerator={"type": "h100"}))
    at = "spec.groups[0].template.spec.containers[engine]."
    assert str(caught.value) == at + problem


def test_a_template_without_an_engine_is_refused() -> None:
    pod = {"containers": [{"name": "main", "image": "vllm:1"}]}
    with pytest.raises(InvalidSpec, match=r"template\.spec\.containers: there is no container"):
        pod_spec({"name": "all", "template": {"spec": pod}})


def test_a_grace_that_would_cut_requests_is_refused_and_a_longer_one_kept() -> None:
    assert (
        pod_spec(a_group(pod={"terminationGracePeriodSeconds": 600}))[
            "terminationGracePeriodSeconds"
        ]
        == 600
    )
    with pytest.raises(InvalidSpec, match=r"60 is less than the 145 that spec\.drain needs"):
        pod_spec(a_group(pod={"terminationGracePeriodSeconds": 60}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["engine", "--port", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "containerPort", "limits", "preStop", "nvidia.com/gpu"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
FIELDS = ["args", "command", "lifecycle", "ports", "readinessProbe", "resources"]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON), JSON, st.booleans())
def test_no_template_crashes_the_operator(
    container: dict[str, Any], value: Any, of_pod: bool
) -> None:
    """The API server takes anything for a template, so that the definition stays small."""
    pod = {"terminationGracePeriodSeconds": value} if of_pod else {}
    with suppress(InvalidSpec):
        pod_spec(a_group(engine=container, pod=pod, accelerator={"type": "h100"}))


@given(JSON)
def test_no_containers_crash_the_operator(containers: Any) -> None:
    with suppress(InvalidSpec):
        pod_spec({"name": "all", "template": {"spec": {"containers": containers}}})


def test_labels_of_the_operator_are_not_the_users() -> None:
    group = a_group()
    group["template"]["metadata"] = {"labels": {"headway.dev/pool": "other"}}
    with pytest.raises(InvalidSpec, match=r"metadata\.labels: headway\.dev/pool is the operator's"):
        pod_spec(group)
