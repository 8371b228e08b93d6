"""What the command line and the environment say."""

import argparse
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from headway_operator.errors import InvalidSettings

LOG_LEVELS = ("debug", "info", "warning", "error")
MIN_RESYNC_S = 0.1
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    kubeconfig: Path | None
    """None: the service account of the pod that this runs in."""
    namespace: str | None
    """None: all namespaces."""
    lease_namespace: str
    lease_name: str
    identity: str
    """Distinct in every process, also in two of one host."""
    resync_s: float
    discovery_host: str
    discovery_port: int
    discovery_tls: Path | None
    """Folder of certificate, key and CA.  None: plain text."""
    log_level: str


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Raises: InvalidSettings.  SystemExit: the command line cannot be read."""
    given = _parser().parse_args(arguments)
    kubeconfig: Path | None = given.kubeconfig
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" not in environment:
        raise InvalidSettings("--kubeconfig FILE is needed outside a cluster")
    if kubeconfig is not None and not kubeconfig.is_file():
        raise InvalidSettings(f"--kubeconfig: there is no file {kubeconfig}")
    if not given.resync_seconds >= MIN_RESYNC_S:
        raise InvalidSettings(f"--resync-seconds must be {MIN_RESYNC_S} at least")
    return Settings(
        kubeconfig=kubeconfig,
        namespace=given.namespace,
        lease_namespace=given.lease_namespace,
        lease_name=given.lease_name,
        identity=f"{socket.gethostname()}_{os.getpid()}_{uuid4().hex[:8]}",
        resync_s=given.resync_seconds,
        discovery_host=given.discovery_host or ("127.0.0.1" if kubeconfig else "[::]"),
        discovery_port=given.discovery_port,
        discovery_tls=_discovery_tls(given.discovery_tls_dir, is_insecure=given.discovery_insecure),
        log_level=given.log_level,
    )


def _discovery_tls(folder: Path | None, *, is_insecure: bool) -> Path | None:
    if (folder is None) != is_insecure:
        raise InvalidSettings("give exactly one of --discovery-tls-dir and --discovery-insecure")
    if folder is not None and not folder.is_dir():
        raise InvalidSettings(f"--discovery-tls-dir: there is no folder {folder}")
    return folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headway operator",
        description="Keep the workloads of ModelPools as they say. Replicas elect a leader.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--kubeconfig", type=Path, metavar="FILE", help="in a pod: not needed, its service account"
    )
    parser.add_argument("--namespace", help="watch only this one; None: all of them")
    parser.add_argument("--lease-namespace", default="default", help="where the leader's Lease is")
    parser.add_argument("--lease-name", default="headway-operator", help="what it is called")
    parser.add_argument(
        "--resync-seconds", type=float, default=600.0, help="how often every pool is looked at"
    )
    parser.add_argument(
        "--discovery-host", help="where routers connect; None: anywhere in a pod, else 127.0.0.1"
    )
    parser.add_argument(
        "--discovery-port", type=_port, default=9004, help="and its port; 0 takes a free one"
    )
    parser.add_argument(
        "--discovery-tls-dir",
        type=Path,
        metavar="DIR",
        help="tls.crt, tls.key and ca.crt for mutual TLS with routers; read again when they change",
    )
    parser.add_argument(
        "--discovery-insecure", action="store_true", help="plain text instead: on one machine only"
    )
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="info", help="of its own logs")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _HIGHEST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is no port, 0 to {_HIGHEST_PORT}")
    return int(text)
