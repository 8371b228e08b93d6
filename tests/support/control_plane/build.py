"""The binary of ``tests/controlplane``: etcd, kube-apiserver and friends, built once per machine.

Cold, with nothing of Go cached: 93 MB of modules and some 10 minutes of two cores.
"""

import hashlib
import os
import platform
import sys
import time
from pathlib import Path

from go_toolchain import Unavailable, go, run_go, run_go_online
from machine_cache import CACHE, Tell, locked

SOURCES = Path(__file__).parents[2] / "controlplane"

KUBERNETES = "v1.36.3"
"""What the server says it is; of ``go.mod``'s ``k8s.io/kubernetes``."""

BUILD_LIMIT_S = 2400.0

_WHAT = "the control plane for tests"


def binary(tell: Tell) -> Path:
    """Path of the binary; builds it if needed.  Raises: Unavailable, BuildFailed."""
    if sys.platform != "linux":
        raise Unavailable(f"{_WHAT} runs on Linux, this is {sys.platform}")
    home = CACHE / f"controlplane-{_key()}"
    built = home / "controlplane"
    with locked(home.name, tell, limit_s=BUILD_LIMIT_S):
        if not built.exists():
            _build(built, go(_WHAT), tell)
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


def _build(built: Path, go: Path, tell: Tell) -> None:
    started_s = time.monotonic()
    tell(f"building a Kubernetes control plane into {built.parent} (once per machine, minutes)")
    _download(go)
    tell("  its modules are here; now compiling them")
    draft = built.with_suffix(f".{os.getpid()}")
    run_go(
        ["nice", go, "build", "-p", "2", *_flags(), "-o", draft, "."],
        limit_s=BUILD_LIMIT_S,
        folder=SOURCES,
    )
    draft.rename(built)
    tell(f"  built in {time.monotonic() - started_s:.0f} s")


def _download(go: Path) -> None:
    """Raises: Unavailable: there is no network; BuildFailed: whatever else went wrong."""
    run_go_online(_WHAT, [go, "mod", "download"], limit_s=BUILD_LIMIT_S, folder=SOURCES)
