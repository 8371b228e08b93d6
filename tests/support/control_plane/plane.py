"""A real control plane on the loopback interface, each part a process of its own."""

import json
import shutil
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from control_plane.api import Api, until
from engine_contract.process import EngineProcess, free_port
from machine_cache import run

CONTROLLERS = (
    "deployment-controller",
    "disruption-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "replicaset-controller",
    "serviceaccount-controller",
)
START_LIMIT_S = 120.0

OPERATOR = "operator"
"""The user that is the operator: it may do what ``OPERATOR_RULES`` say and nothing else."""

CHART_RULES = Path(__file__).parents[3] / "helm" / "headway" / "files" / "rbac" / "operator.yaml"
OPERATOR_RULES = [
    *yaml.safe_load(CHART_RULES.read_text()),
    # In the chart of one name and one namespace.
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["get", "create", "update"],
    },
]


class NotStarted(Exception):
    """A part ended or did not answer in time: which, why, and the end of its log."""


class ControlPlane:
    """etcd, API server, controller manager and scheduler; one administrator.

    The definitions of custom resources are applied and served before the controller manager
    starts: its garbage collector knows kinds that are there from the first object on, and others
    only half a minute later.
    """

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        self._parts: dict[str, EngineProcess] = {}
        # Memory where there is such a folder: every write of etcd is a write to the disk.
        shm = Path("/dev/shm")
        self._data = Path(
            tempfile.mkdtemp(prefix="headway-etcd-", dir=shm if shm.is_dir() else None)
        )
        self._port = free_port()
        self.admin = Api(f"https://127.0.0.1:{self._port}", folder / "certs/apiserver.crt", "admin")

    def start(self, definitions: Iterable[dict[str, Any]]) -> None:
        """Raises: NotStarted."""
        (self._folder / "certs").mkdir(parents=True)
        etcd = self._start_etcd()
        self._start_api_server(etcd)
        for definition in definitions:
            self._define(definition)
        self._allow_operator()
        kubeconfig = self.kubeconfig("admin")
        common = [f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0"]
        self._start(
            "kube-controller-manager",
            *common,
            f"--service-account-private-key-file={self._folder / 'sa.key'}",
            f"--root-ca-file={self.admin.ca}",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            f"--controllers={','.join(CONTROLLERS)}",
        )
        self._start("kube-scheduler", *common)

    def _allow_operator(self) -> None:
        rbac = "apis/rbac.authorization.k8s.io/v1"
        role = {"metadata": {"name": OPERATOR}, "rules": OPERATOR_RULES}
        self.admin.call("POST", f"{rbac}/clusterroles", role)
        binding = {
            "metadata": {"name": OPERATOR},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": OPERATOR,
            },
            "subjects": [
                {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": OPERATOR}
            ],
        }
        self.admin.call("POST", f"{rbac}/clusterrolebindings", binding)

    def stop(self) -> None:
        for part in reversed(self._parts.values()):
            part.stop()
        shutil.rmtree(self._data, ignore_errors=True)

    def kubeconfig(self, user: str, token: str | None = None) -> Path:
        """A kubeconfig file of one of ``tokens.csv``'s users, or of whoever the token is of."""
        path = self._folder / f"{user}.kubeconfig"
        cluster = {"server": self.admin.server, "certificate-authority": str(self.admin.ca)}
        context = {"cluster": "test", "user": user, "namespace": "default"}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token or user}}],
            "contexts": [{"name": "test", "context": context}],
        }
        path.write_text(json.dumps(content))
        return path

    def _start_etcd(self) -> str:
        clients, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._start(
            "etcd",
            f"--data-dir={self._data}",
            "--name=test",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=test={peers}",
            "--unsafe-no-fsync",
            "--log-level=error",
        )
        self._wait("etcd", f"{clients}/health")
        return clients

    def _start_api_server(self, etcd: str) -> None:
        key, tokens = self._folder / "sa.key", self._folder / "tokens.csv"
        run([self._binary, "service-account-key", key], limit_s=60)
        tokens.write_text(
            f'admin,admin,1,"system:masters"\n{OPERATOR},{OPERATOR},2,"system:authenticated"\n'
        )
        policy = self._folder / "audit.json"
        service_accounts = {"level": "Metadata", "userGroups": ["system:serviceaccounts"]}
        rules = [service_accounts, {"level": "None"}]
        policy.write_text(
            json.dumps(
                {
                    "apiVersion": "audit.k8s.io/v1",
                    "kind": "Policy",
                    "omitStages": ["RequestReceived"],
                    "rules": rules,
                }
            )
        )
        self._start(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            f"--cert-dir={self._folder / 'certs'}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            # Without a default route it would not find an address to advertise, and it refuses to
            # reconcile the loopback address.
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--service-account-issuer={self.admin.server}",
            f"--service-account-signing-key-file={key}",
            f"--service-account-key-file={key}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self._folder / 'audit.log'}",
            # Its not-ready taint is lifted only by a controller that is not run here.
            "--disable-admission-plugins=TaintNodesByCondition",
            "--enable-priority-and-fairness=false",
            "--shutdown-delay-duration=0s",
            "--profiling=false",
        )
        self._wait("kube-apiserver", f"{self.admin.server}/readyz")

    def audited(self, user: str) -> set[tuple[str, str, str]]:
        """API group, resource with its subresource, and verb of all that a service account was
        allowed to ask for.
        """
        found = set()
        for line in (self._folder / "audit.log").read_text().splitlines():
            event = json.loads(line)
            asked = event.get("objectRef", {})
            is_allowed = event["annotations"].get("authorization.k8s.io/decision") == "allow"
            if event["user"]["username"] == user and is_allowed and "resource" in asked:
                resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
                found.add((asked.get("apiGroup", ""), resource, event["verb"]))
        return found

    def _define(self, definition: dict[str, Any]) -> None:
        """Established is not enough: a resource answers about a second later."""
        name, spec = definition["metadata"]["name"], definition["spec"]
        kinds = "apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        self.admin.apply(f"{kinds}/{name}", definition)
        version = spec["versions"][0]["name"]
        objects = f"apis/{spec['group']}/{version}/{spec['names']['plural']}"
        until(lambda: self.admin.serves(objects), f"{objects} is served", limit_s=START_LIMIT_S)

    def _start(self, part: str, *arguments: str) -> None:
        self._parts[part] = EngineProcess(
            [str(self._binary), part, *arguments],
            port=0,
            log=self._folder / f"{part}.log",
            environment={},
        )

    def _wait(self, part: str, url: str) -> None:
        process = self._parts[part]
        deadline_s = time.monotonic() + START_LIMIT_S
        while not self._answers(url):
            if not process.is_alive or time.monotonic() > deadline_s:
                state = "does not answer" if process.is_alive else "ended"
                raise NotStarted(f"{part} {state}; {process.end_of_log()}")
            time.sleep(0.05)

    def _answers(self, url: str) -> bool:
        if not url.startswith("https"):
            context = None
        elif self.admin.ca.exists():
            context = ssl.create_default_context(cafile=str(self.admin.ca))
        else:
            return False
        request = urllib.request.Request(url, headers={"Authorization": "Bearer admin"})
        try:
            with urllib.request.urlopen(request, timeout=5, context=context) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
