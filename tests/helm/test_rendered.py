"""What the chart renders: for every Kubernetes that it supports, and by every switch."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from headway_api import definitions
from headway_operator import settings as operator_settings
from headway_router import settings as router_settings
from headway_router.envoy import for_chart
from helm_cli import CHART, IMAGES, Helm, HelmFailed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
"""The first test that needs Helm may build it: beyond the usual limit."""

OLDEST, NEWEST = "1.29.0", "1.36.0"
EVERYTHING: dict[str, Any] = {
    "router": {"autoscaling": {"enabled": True}, "transport": "h2"},
    "monitoring": {
        "podMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboards": {"enabled": True},
    },
    "networkPolicy": {"enginePorts": [8000], "engineCidrs": ["10.1.0.0/16"]},
}
IN_A_POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": EVERYTHING,
    "another gateway": {"gateway": {"mode": "External"}},
    "one namespace, no definitions": {"watchNamespace": "models", "crds": {"enabled": False}},
    "cert-manager": {"tls": {"mode": "CertManager", "issuerRef": {"name": "ca"}}},
    "a Secret of the user": {"tls": {"mode": "Existing", "secretName": "mine"}},
    "plain text": {"tls": {"mode": "Disabled"}},
    "plain text behind another gateway": {
        "tls": {"mode": "Disabled"},
        "gateway": {"mode": "External"},
    },
}
every_variant = pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """By name, without the release's."""
    return {o["metadata"]["name"].removeprefix("headway-"): o for o in objects if o["kind"] == kind}


def pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for o in objects:
        if o["kind"] == "Deployment":
            yield o["spec"]["template"]["spec"]
        elif o["kind"] == "Pod":
            yield o["spec"]


def arguments(objects: list[dict[str, Any]], component: str) -> list[str]:
    [container] = of_kind(objects, "Deployment")[component]["spec"]["template"]["spec"][
        "containers"
    ]
    found: list[str] = container["args"]
    return found


@every_variant
def test_a_strict_linter_finds_nothing(helm: Helm, values: dict[str, Any]) -> None:
    report = helm.run("lint", "--strict", str(CHART), values={**IMAGES, **values})
    assert "0 chart(s) failed" in report


@every_variant
@pytest.mark.parametrize("kubernetes", [OLDEST, NEWEST])
def test_it_renders_objects_of_one_namespace_each_once(
    helm: Helm, values: dict[str, Any], kubernetes: str
) -> None:
    objects = helm.objects(values, kubernetes=kubernetes)
    keys = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    assert len(set(keys)) == len(keys)
    where = {namespace for kind, namespace, _ in keys}
    clusterwide = {kind for kind, namespace, _ in keys if namespace is None}
    assert where <= {"llm", values.get("watchNamespace"), None}
    assert clusterwide <= {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}


def test_an_older_kubernetes_is_refused(helm: Helm) -> None:
    with pytest.raises(HelmFailed, match="kubeVersion"):
        helm.objects(kubernetes="1.28.9")


def test_a_pod_waits_before_it_ends_where_kubernetes_can(helm: Helm) -> None:
    def hooks(kubernetes: str) -> list[Any]:
        gateway = of_kind(helm.objects(kubernetes=kubernetes), "Deployment")["gateway"]
        containers = gateway["spec"]["template"]["spec"]["containers"]
        return [container.get("lifecycle") for container in containers]

    assert hooks(OLDEST) == [None]
    assert hooks(NEWEST) == [{"preStop": {"sleep": {"seconds": 60}}}]


def test_without_a_repository_it_says_what_to_do(helm: Helm) -> None:
    with pytest.raises(HelmFailed, match=r"image\.repository is not set.*make images"):
        helm.objects({"image": {"repository": ""}})


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"gateway": {"mode": "Exernal"}}, "value must be one of 'Envoy', 'External'"),
        ({"tls": {"mode": "Existing"}}, "/tls/secretName"),
        ({"tls": {"mode": "CertManager"}}, "missing property 'name'"),
        ({"operator": {"replica": 3}}, "additional properties 'replica' not allowed"),
        ({"operator": {"digest": "sha256:12"}}, "/operator/digest"),
        ({"networkPolicy": {"enginePorts": ["http"]}}, "/networkPolicy/enginePorts/0"),
    ],
)
def test_a_wrong_value_is_refused(helm: Helm, values: dict[str, Any], problem: str) -> None:
    with pytest.raises(HelmFailed) as caught:
        helm.objects(values)
    assert problem in str(caught.value)


def test_the_schema_knows_every_value_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    free = {"affinity", "annotations", "labels", "nodeSelector", "podAnnotations", "podLabels"}

    def differences(schema: dict[str, Any], values: dict[str, Any], path: str) -> Iterator[str]:
        assert schema["additionalProperties"] is False, path
        yield from (f"{path}.{key}" for key in schema["properties"].keys() ^ values.keys())
        for key, value in values.items():
            known = schema["properties"].get(key, {})
            if isinstance(value, dict) and value and key not in free | {"requests", "limits"}:
                yield from differences(known, value, f"{path}.{key}")

    optional = {".global", ".operator.resources.claims", ".router.resources.claims"}
    optional.add(".gateway.envoy.resources.claims")
    assert set(differences(schema, values, "")) == optional


def test_the_definitions_are_those_of_the_types() -> None:
    for name, text in definitions.files():
        assert (CHART / "files" / "crds" / name).read_text() == text, (
            f"run: headway crds generate {CHART / 'files' / 'crds'}"
        )


def test_the_definitions_are_installed_and_kept_as_the_switches_say(helm: Helm) -> None:
    kept = of_kind(helm.objects(), "CustomResourceDefinition")
    assert kept.keys() == {"modelpools.headway.dev", "routingpolicies.headway.dev"}
    for definition in kept.values():
        assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    loose = of_kind(helm.objects({"crds": {"keep": False}}), "CustomResourceDefinition")
    assert [d["metadata"].get("annotations") for d in loose.values()] == [{}, {}]
    assert of_kind(helm.objects({"crds": {"enabled": False}}), "CustomResourceDefinition") == {}


def test_the_files_for_envoy_are_what_the_generator_writes() -> None:
    for name, text in for_chart.files():
        assert (CHART / "files" / "envoy" / name).read_text() == text, (
            "run: python -m headway_router.envoy.for_chart helm/headway/files/envoy"
        )


@pytest.mark.parametrize(("mode", "has_tls"), [("Generated", True), ("Disabled", False)])
def test_envoy_dials_the_routers_of_its_release(helm: Helm, mode: str, has_tls: bool) -> None:
    [config] = of_kind(helm.objects({"tls": {"mode": mode}}), "ConfigMap").values()
    bootstrap = json.loads(config["data"]["envoy.json"])
    [routers] = [c for c in bootstrap["static_resources"]["clusters"] if c["name"] == "routers"]
    host = "headway-router.llm.svc.cluster.local"
    assert f'"address": "{host}", "port_value": 9002' in json.dumps(routers)
    assert ("transport_socket" in routers) is has_tls
    assert "ROUTER-HOST" not in config["data"]["envoy.json"]


@every_variant
def test_every_pod_is_of_the_restricted_profile(helm: Helm, values: dict[str, Any]) -> None:
    """Pod Security's own admission decides the same of the installed pods."""
    for pod in pods(helm.objects(values)):
        assert pod["enableServiceLinks"] is False  # HEADWAY_METRICS_PORT would be a setting
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS.keys())
def test_the_programs_know_every_flag_that_they_get(
    helm: Helm, values: dict[str, Any], tmp_path: Path
) -> None:
    parsers = {"operator": operator_settings.parse, "router": router_settings.parse}
    for name, deployment in of_kind(helm.objects(values), "Deployment").items():
        if name in parsers:
            [container] = deployment["spec"]["template"]["spec"]["containers"]
            program, *flags = container["args"]
            # Folders that the pod mounts, and which the parsers look for.
            parsers[program](
                [re.sub(r"=/(etc|var)/.*", f"={tmp_path}", f) for f in flags], IN_A_POD
            )


def test_only_the_operator_has_a_token(helm: Helm) -> None:
    objects = helm.objects()
    accounts = {
        name: deployment["spec"]["template"]["spec"]["automountServiceAccountToken"]
        for name, deployment in of_kind(objects, "Deployment").items()
    }
    assert accounts == {"operator": True, "router": False, "gateway": False}
    bindings = [o for o in objects if o["kind"].endswith("Binding")]
    assert {s["name"] for b in bindings for s in b["subjects"]} == {"headway-operator"}


def test_every_rule_stands_on_one_line_under_the_reason_for_it(helm: Helm) -> None:
    text = helm.run("template", "headway", str(CHART), values=IMAGES)
    for match in re.finditer(r"^rules:\n((?:  .*\n)+)", text, re.MULTILINE):
        lines = match.group(1).splitlines()
        assert [line[:4] for line in lines] == ["  # ", "  - "] * (len(lines) // 2)


def test_one_namespace_takes_a_role_in_it(helm: Helm) -> None:
    objects = helm.objects({"watchNamespace": "models"})
    assert of_kind(objects, "ClusterRole") == of_kind(objects, "ClusterRoleBinding") == {}
    assert of_kind(objects, "Role")["operator"]["metadata"]["namespace"] == "models"
    assert "--namespace=models" in arguments(objects, "operator")


def test_replicas_that_an_autoscaler_sets_are_not_rendered(helm: Helm) -> None:
    assert of_kind(helm.objects(), "Deployment")["router"]["spec"]["replicas"] == 2
    objects = helm.objects(EVERYTHING)
    assert "replicas" not in of_kind(objects, "Deployment")["router"]["spec"]
    [scaler] = of_kind(objects, "HorizontalPodAutoscaler").values()
    assert scaler["spec"]["scaleTargetRef"]["name"] == "headway-router"


def test_each_component_can_be_drained_from_a_node(helm: Helm) -> None:
    objects = helm.objects()
    budgets, deployments = (of_kind(objects, k) for k in ("PodDisruptionBudget", "Deployment"))
    assert budgets.keys() == deployments.keys()
    for name, budget in budgets.items():
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["selector"] == deployments[name]["spec"]["selector"]


def test_an_external_gateway_gets_a_service_of_its_own_for_the_picker(helm: Helm) -> None:
    objects = helm.objects({"gateway": {"mode": "External"}})
    assert of_kind(objects, "Deployment").keys() == {"operator", "router"}
    assert "clusterIP" not in of_kind(objects, "Service")["router"]["spec"]
    assert "--single-destination" not in arguments(objects, "router")
    assert "--single-destination" in arguments(helm.objects(), "router")
    assert of_kind(helm.objects(), "Service")["router"]["spec"]["clusterIP"] == "None"


def test_every_service_and_monitor_finds_its_port(helm: Helm) -> None:
    objects = helm.objects(EVERYTHING)
    ports = {
        name: {p["name"] for c in d["spec"]["template"]["spec"]["containers"] for p in c["ports"]}
        for name, d in of_kind(objects, "Deployment").items()
    }
    for name, service in of_kind(objects, "Service").items():
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports[name]
    for name, monitor in of_kind(objects, "PodMonitor").items():
        assert {end["port"] for end in monitor["spec"]["podMetricsEndpoints"]} <= ports[name]


def test_a_digest_stands_instead_of_the_tag(helm: Helm) -> None:
    digest = "sha256:" + "0" * 64
    objects = helm.objects(
        {"operator": {"digest": digest}, "image": {**IMAGES["image"], "tag": "7"}}
    )
    images = {
        name: d["spec"]["template"]["spec"]["containers"][0]["image"]
        for name, d in of_kind(objects, "Deployment").items()
    }
    assert images["operator"] == f"registry.example.com/llm/headway-operator@{digest}"
    assert images["router"] == "registry.example.com/llm/headway-router:7"


def test_the_chart_is_of_the_version_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (Path(CHART).parents[1] / "pyproject.toml").read_text()
    assert f'\nversion = "{chart["appVersion"]}"\n' in project
