"""Requests to the API server: paths, bodies, answers.  The only importer of its client."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config
import urllib3

from headway_operator.errors import ClusterUnavailable, InvalidSettings
from headway_operator.names import Manifest

CONNECTIONS = 32


class Answer(Exception):
    """Any answer but success."""

    def __init__(self, code: int, message: str, retry_after_s: float | None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


def client(kubeconfig: Path | None) -> Any:
    """None: the service account of the pod.  Raises: InvalidSettings."""
    configuration = kubernetes.client.Configuration()
    try:
        if kubeconfig is None:
            kubernetes.config.load_incluster_config(  # type: ignore[no-untyped-call]  # its package left it so
                client_configuration=configuration
            )
        else:
            kubernetes.config.load_kube_config(  # type: ignore[no-untyped-call]  # likewise
                config_file=str(kubeconfig), client_configuration=configuration
            )
    except kubernetes.config.ConfigException as error:
        raise InvalidSettings(f"no way to the API server: {error}") from error
    configuration.connection_pool_maxsize = CONNECTIONS
    configuration.retries = False
    return kubernetes.client.ApiClient(configuration)


def call(
    client: Any, method: str, path: str, body: Any, kind: str, timeout_s: tuple[float, float]
) -> Manifest:
    """Blocks.  ``kind`` is the body's; ``timeout_s`` to connect and to answer.

    Raises: Answer, ClusterUnavailable.
    """
    parameters = client.param_serialize(
        method,
        f"/{path}",
        header_params={"Accept": "application/json", "Content-Type": kind},
        body=body,
        auth_settings=["BearerToken"],
    )
    try:
        answer = client.call_api(*parameters, _request_timeout=timeout_s)
        content = answer.read()
    except urllib3.exceptions.HTTPError as error:
        raise ClusterUnavailable(f"{method} /{path}: {error}") from error
    if not 200 <= answer.status < 300:
        raise Answer(answer.status, _message(content), _retry_after_s(answer.headers))
    found: Manifest = json.loads(content)
    return found


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace")[:500]


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    try:
        return float(headers["Retry-After"])
    except (KeyError, ValueError):
        return None
