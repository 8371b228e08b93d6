"""The API server as tests talk to it: one call, its status and its JSON."""

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Json = Any
Found = TypeVar("Found")

WAIT_LIMIT_S = 120.0

PLURALS = {
    "ModelPool": "apis/headway.dev/v1alpha1/namespaces/{}/modelpools",
    "RoutingPolicy": "apis/headway.dev/v1alpha1/namespaces/{}/routingpolicies",
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "ReplicaSet": "apis/apps/v1/namespaces/{}/replicasets",
    "PodDisruptionBudget": "apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "Pod": "api/v1/namespaces/{}/pods",
    "Event": "apis/events.k8s.io/v1/namespaces/{}/events",
    "Lease": "apis/coordination.k8s.io/v1/namespaces/{}/leases",
}
"""Path of a kind's objects in a namespace."""


class Refused(Exception):
    """The API server said no: its code and its message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Api:
    """One user of the API server."""

    server: str
    ca: Path
    token: str

    def call(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        kind: str = "application/json",
        accept: str = "application/json",
    ) -> Json:
        """Raises: Refused: for every answer that is no success."""
        request = urllib.request.Request(
            f"{self.server}/{path.lstrip('/')}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.token}",
                "Content-Type": kind,
                "Accept": accept,
            },
        )
        context = ssl.create_default_context(cafile=str(self.ca))
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            raise Refused(error.code, _message(text)) from None
        return json.loads(content) if content.startswith((b"{", b"[")) else content.decode()

    def get(self, kind: str, namespace: str, name: str, subresource: str = "") -> Json:
        return self.call("GET", f"{_path(kind, namespace, name)}/{subresource}".rstrip("/"))

    def found(self, path: str) -> Json | None:
        """None: there is nothing there."""
        try:
            return self.call("GET", path)
        except Refused as refused:
            if refused.code != 404:
                raise
            return None

    def serves(self, path: str) -> bool:
        """Whether a list answers; one of a kind just defined does a second later."""
        try:
            self.call("GET", f"{path}?limit=1")
        except Refused as refused:
            if refused.code not in (404, 429):
                raise
            return False
        return True

    def exists(self, kind: str, namespace: str, name: str) -> bool:
        return self.found(_path(kind, namespace, name)) is not None

    def list(self, kind: str, namespace: str) -> list[Json]:
        items: list[Json] = self.call("GET", PLURALS[kind].format(namespace))["items"]
        return items

    def create(self, body: Mapping[str, Any], *, query: str = "fieldValidation=Strict") -> Json:
        namespace = body["metadata"].get("namespace", "default")
        return self.call("POST", f"{PLURALS[body['kind']].format(namespace)}?{query}", body)

    def merge(
        self, kind: str, namespace: str, name: str, patch: Json, subresource: str = ""
    ) -> Json:
        path = f"{_path(kind, namespace, name)}/{subresource}".rstrip("/")
        return self.call("PATCH", path, patch, kind="application/merge-patch+json")

    def apply(self, path: str, body: Json, *, query: str = "") -> Json:
        """Server-side apply, by force."""
        wanted = f"{path}?fieldManager=test&force=true{'&' if query else ''}{query}"
        return self.call("PATCH", wanted, body, kind="application/apply-patch+yaml")

    def delete(self, kind: str, namespace: str, name: str) -> None:
        self.call("DELETE", _path(kind, namespace, name))

    def create_namespace(self, name: str) -> str:
        self.call("POST", "api/v1/namespaces", {"metadata": {"name": name}})
        return name


def until(look: Callable[[], Found | None], what: str, *, limit_s: float = WAIT_LIMIT_S) -> Found:
    """What ``look`` finds, as soon as it finds something.  Raises: AssertionError: it never did."""
    deadline_s = time.monotonic() + limit_s
    while not (found := look()):
        assert time.monotonic() < deadline_s, f"never within {limit_s:.0f} s: {what}"
        time.sleep(0.05)
    return found


def _path(kind: str, namespace: str, name: str) -> str:
    return f"{PLURALS[kind].format(namespace)}/{name}"


def _message(text: str) -> str:
    try:
        return str(json.loads(text).get("message", text))
    except json.JSONDecodeError:
        return text
