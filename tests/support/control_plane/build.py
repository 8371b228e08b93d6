"""The binary of ``tests/controlplane``: etcd, kube-apiserver and friends, built once per machine.

Cold, with nothing of Go cached: 93 MB of modules and some 10 minutes of two cores.
"""

from pathlib import Path

from go_program import GoProgram

KUBERNETES = "v1.36.3"
"""What the server says it is; of ``go.mod``'s ``k8s.io/kubernetes``."""


def _version_stamp() -> str:
    """Without it the server is v0.0.0, which other programs refuse."""
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    stamp = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor}
    stamp["gitTreeState"] = "clean"
    return " ".join(f"-X k8s.io/component-base/version.{k}={v}" for k, v in stamp.items())


CONTROL_PLANE = GoProgram(
    what="the control plane for tests",
    name="controlplane",
    module=Path(__file__).parents[2] / "controlplane",
    files=("go.mod", "go.sum", "main.go"),
    flags=("-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {_version_stamp()}"),
)
