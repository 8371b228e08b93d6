"""A release on a real API server, from its installation to what is left of it."""

import base64
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from control_plane.api import Api, Refused, until
from control_plane.hook_pods import HookPods
from control_plane.plane import ControlPlane
from engine_contract.process import EngineProcess, free_port
from headway_api import definitions
from headway_cli.demo.gateway import envoy_binary
from helm_cli import CHART, IMAGES, Helm, HelmFailed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

NAMESPACE = "headway-release"
WHERE = ("--namespace", NAMESPACE)
DEFINITIONS = "apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DEFINITION = f"{DEFINITIONS}/modelpools.headway.dev"
POOLS = f"apis/headway.dev/v1alpha1/namespaces/{NAMESPACE}/modelpools"
SECRET = f"api/v1/namespaces/{NAMESPACE}/secrets/headway-tls"
EXAMPLES = CHART.parents[1] / "examples" / "standalone"
TESTED = "app.kubernetes.io/component=test"
ROUTER_HOST = f"headway-router.{NAMESPACE}.svc.cluster.local"
GATEWAY_HOST = f"headway-gateway.{NAMESPACE}.svc.cluster.local"


@pytest.fixture(scope="module")
def api(bare_cluster: ControlPlane) -> Api:
    """In a namespace that takes only pods of the restricted profile."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    bare_cluster.admin.call(
        "POST", "api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": labels}}
    )
    return bare_cluster.admin


@pytest.fixture(scope="module")
def helm(
    bare_cluster: ControlPlane, helm_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Helm:
    folder = tmp_path_factory.mktemp("helm-of-a-release")
    return Helm(helm_binary, folder, bare_cluster.kubeconfig("admin"))


@pytest.fixture(scope="module")
def older_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart, before ``spec.paused`` was in the definition."""
    folder = tmp_path_factory.mktemp("older") / "headway"
    shutil.copytree(CHART, folder)
    path = folder / "files" / "crds" / "modelpools.yaml"
    definition = yaml.safe_load(path.read_text())
    del spec_fields(definition)["paused"]
    path.write_text(yaml.safe_dump(definition))
    return folder


@pytest.fixture(scope="module")
def installed(api: Api, helm: Helm, older_chart: Path) -> Iterator[Api]:
    helm.run("install", "headway", str(older_chart), *WHERE, "--take-ownership", values=IMAGES)
    until(lambda: api.serves(POOLS), "the definitions are served")
    pool = yaml.safe_load((EXAMPLES / "pool.yaml").read_text())
    pool["metadata"]["namespace"] = NAMESPACE
    api.create(pool)
    yield api
    helm.run("uninstall", "headway", *WHERE, "--ignore-not-found")
    until(lambda: api.serves(POOLS), "pools are served")
    api.delete("ModelPool", NAMESPACE, pool["metadata"]["name"])


def spec_fields(definition: dict[str, Any]) -> dict[str, Any]:
    [version] = definition["spec"]["versions"]
    fields: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"][
        "properties"
    ]
    return fields


def the_pool(api: Api) -> dict[str, Any]:
    """A definition that changes does not answer for a second."""
    until(lambda: api.serves(POOLS), "pools are served")
    [pool] = api.list("ModelPool", NAMESPACE)
    return dict(pool)


def is_empty(api: Api, kind: str) -> bool:
    return api.list(kind, NAMESPACE) == []


def replicas(api: Api) -> int:
    number: int = api.get("Deployment", NAMESPACE, "headway-router")["spec"]["replicas"]
    return number


def test_pod_security_admits_its_pods_and_no_others(installed: Api) -> None:
    until(lambda: len(installed.list("Pod", NAMESPACE)) == 6, "two of each of three components")
    pod = {"containers": [{"name": "any", "image": "any"}]}
    body = {"kind": "Pod", "metadata": {"name": "any", "namespace": NAMESPACE}, "spec": pod}
    with pytest.raises(Refused, match='violates PodSecurity "restricted'):
        installed.create(body)


@contextmanager
def running(api: Api, folder: Path) -> Iterator[tuple[dict[str, str], EngineProcess]]:
    """A router and an Envoy of the release, from what is in the cluster; where each Service's port
    is here.
    """
    ports = {name: free_port() for name in ("extproc", "health", "http")}
    tls = folder / "tls"
    tls.mkdir()
    secret = {k: base64.b64decode(v) for k, v in api.call("GET", SECRET)["data"].items()}
    for entry in volume(api, "router", "tls")["secret"]["items"]:
        (tls / entry["path"]).write_bytes(secret[entry["key"]])
    router = EngineProcess(
        [
            *(sys.executable, "-m", "headway_cli"),
            *local_arguments(api, tls),
            *("--grpc-port", str(ports["extproc"]), "--grpc-health-port", str(ports["health"])),
            *("--metrics-port=0", "--debug-port=0", "--drain-notice-s=0"),
        ],
        port=ports["health"],
        log=folder / "router.log",
        environment={},
    )
    bootstrap = folder / "envoy.json"
    path = f"api/v1/namespaces/{NAMESPACE}/configmaps/headway-gateway"
    config = json.loads(api.call("GET", path)["data"]["envoy.json"])
    for address in addresses(config):  # the name that the certificate must hold stays
        match address["port_value"]:
            case 9002:
                address |= {"address": "localhost", "port_value": ports["extproc"]}
            case 8080:
                address |= {"address": "127.0.0.1", "port_value": ports["http"]}
            case 9901:
                address |= {"port_value": 0}
    bootstrap.write_text(json.dumps(config).replace("/etc/headway/tls", str(tls)))
    envoy = EngineProcess(
        [str(envoy_binary()), "-c", str(bootstrap), "--disable-hot-restart", "--concurrency", "1"],
        port=ports["http"],
        log=folder / "envoy.log",
        environment={},
    )
    try:
        yield (
            {
                f"{ROUTER_HOST}:9003": f"127.0.0.1:{ports['health']}",
                f"{GATEWAY_HOST}:80": f"127.0.0.1:{ports['http']}",
            },
            router,
        )
    finally:
        envoy.stop()
        router.stop()


def local_arguments(api: Api, tls: Path) -> list[str]:
    """The router's, with a folder of documents for the operator."""
    [container] = pod_spec(api, "router")["containers"]
    instead = {"--operator": f"--config={EXAMPLES}", "--state-dir": "", "--operator-tls-dir": ""}
    words = [instead.get(word.partition("=")[0], word) for word in container["args"]]
    return [word.replace("/etc/headway/tls", str(tls)) for word in words if word]


def addresses(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict):
        if "port_value" in config:
            yield config
        for value in config.values():
            yield from addresses(value)
    elif isinstance(config, list):
        for value in config:
            yield from addresses(value)


def pod_spec(api: Api, component: str) -> dict[str, Any]:
    deployment = api.get("Deployment", NAMESPACE, f"headway-{component}")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def volume(api: Api, component: str, name: str) -> dict[str, Any]:
    [found] = [v for v in pod_spec(api, component)["volumes"] if v["name"] == name]
    return dict(found)


def test_helm_test_asks_what_runs_and_fails_with_it(
    installed: Api, helm: Helm, tmp_path: Path
) -> None:
    with running(installed, tmp_path) as (hosts, router):
        with HookPods(installed, NAMESPACE, TESTED, hosts) as pods:
            report = helm.run("test", "headway", *WHERE, "--timeout", "120s")
        assert "Phase:          Succeeded" in report
        assert [output.count(": ok\n") for output in pods.outputs] == [2]
        router.stop()
        impatient = ("--timeout-s", "3")
        with (
            HookPods(installed, NAMESPACE, TESTED, hosts, impatient) as pods,
            pytest.raises(HelmFailed, match=r"headway-test.*[Ff]ail"),
        ):
            helm.run("test", "headway", *WHERE, "--timeout", "120s")
        assert "headway probe: grpc://127.0.0.1" in pods.outputs[0]


def test_an_upgrade_brings_new_definitions_and_a_rollback_the_old_ones(
    installed: Api, helm: Helm
) -> None:
    pool = the_pool(installed)
    secret = installed.call("GET", SECRET)["data"]
    assert "paused" not in spec_fields(installed.call("GET", DEFINITION))
    helm.run(
        *("upgrade", "headway", str(CHART), *WHERE),
        values={**IMAGES, "router": {"replicas": 3, "logLevel": "debug"}},
    )
    assert "paused" in spec_fields(installed.call("GET", DEFINITION))
    for name, text in definitions.files():
        path = f"{DEFINITIONS}/{name.removesuffix('.yaml')}.headway.dev"
        written = yaml.safe_load(text)["spec"]["versions"]
        assert installed.call("GET", path)["spec"]["versions"] == written
    assert replicas(installed) == 3
    assert installed.call("GET", SECRET)["data"] == secret  # else half of the pods had another CA
    helm.run("rollback", "headway", "1", *WHERE)
    assert "paused" not in spec_fields(installed.call("GET", DEFINITION))
    assert replicas(installed) == 2
    assert installed.call("GET", SECRET)["data"] == secret
    assert the_pool(installed) == pool


def test_a_render_from_the_cluster_changes_nothing(installed: Api, helm: Helm) -> None:
    before = installed.call("GET", SECRET)["metadata"]["resourceVersion"]
    helm.run("upgrade", "headway", str(CHART), *WHERE, values=IMAGES)
    first = installed.get("Deployment", NAMESPACE, "headway-router")["metadata"]["generation"]
    helm.run("upgrade", "headway", str(CHART), *WHERE, values=IMAGES)
    again = installed.get("Deployment", NAMESPACE, "headway-router")["metadata"]["generation"]
    assert first == again
    assert installed.call("GET", SECRET)["metadata"]["resourceVersion"] == before


def test_an_uninstalled_release_leaves_definitions_and_pools_and_can_come_back(
    installed: Api, helm: Helm
) -> None:
    pool = the_pool(installed)
    helm.run("uninstall", "headway", *WHERE)
    for kind in ("Deployment", "PodDisruptionBudget"):
        gone = partial(is_empty, installed, kind)
        until(gone, f"no {kind} is left")
    assert the_pool(installed) == pool
    helm.run("install", "headway", str(CHART), *WHERE, values=IMAGES)
    assert the_pool(installed)["metadata"]["uid"] == pool["metadata"]["uid"]
