"""The real Helm, pinned by the module ``tests/helm/module`` and built once per machine.

Cold, with nothing of Go cached: some five minutes of one core.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from go_program import GoProgram

HELM = GoProgram(
    what="Helm for tests",
    name="helm",
    module=Path(__file__).parents[1] / "helm" / "module",
    files=("go.mod", "go.sum"),
    package="helm.sh/helm/v4/cmd/helm",
)
CHART = Path(__file__).parents[2] / "helm" / "headway"
IMAGES = {"image": {"repository": "registry.example.com/llm"}}
"""The one value that must be given."""

LIMIT_S = 300.0

Values = Mapping[str, Any]


class HelmFailed(Exception):
    """What it wrote to standard error."""


class Helm:
    """Runs it with nothing of the user's own configuration."""

    def __init__(self, binary: Path, folder: Path, kubeconfig: Path | None = None) -> None:
        self._binary = binary
        self._folder = folder
        self._rendered: dict[str, list[dict[str, Any]]] = {}
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "KUBECONFIG": str(kubeconfig or folder / "no-cluster"),
        }

    def run(self, *words: str, values: Values | None = None) -> str:
        """Standard output.  Raises: HelmFailed."""
        command = [str(self._binary), *words]
        if values is not None:
            file = self._folder / "values.yaml"
            file.write_text(yaml.safe_dump(dict(values)))
            command += ["--values", str(file)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            raise HelmFailed(f"{done.stdout}\n{done.stderr}")
        return done.stdout

    def objects(
        self, values: Values | None = None, *, kubernetes: str = "1.36.0"
    ) -> list[dict[str, Any]]:
        """What the chart renders for a release named headway in the namespace llm."""
        given = {**IMAGES, **(values or {})}
        key = json.dumps([given, kubernetes])
        if key not in self._rendered:
            command = ("template", "headway", str(CHART), "--namespace", "llm")
            text = self.run(*command, "--kube-version", kubernetes, values=given)
            documents = yaml.load_all(text, Loader=yaml.CSafeLoader)
            self._rendered[key] = [document for document in documents if document]
        return self._rendered[key]
