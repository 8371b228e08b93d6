"""The real Helm, pinned by the module ``tests/helm/module`` and built once per machine.

Cold, with nothing of Go cached: some three minutes of two cores.
"""

from pathlib import Path

from go_program import GoProgram

HELM = GoProgram(
    what="Helm for tests",
    name="helm",
    module=Path(__file__).parents[1] / "helm" / "module",
    files=("go.mod", "go.sum"),
    package="helm.sh/helm/v4/cmd/helm",
)
