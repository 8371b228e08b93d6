"""One operator for all tests of a module, and a namespace for each test."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from control_plane.operator import OperatorProcess
from control_plane.plane import ControlPlane

GOOD = Path(__file__).parent.parent / "fixtures" / "admission" / "good"

_numbers = itertools.count()


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """Its pools go with the test, so that the operator has no more to look at."""
    admin = control_plane.admin
    name = admin.create_namespace(f"operator-{next(_numbers)}")
    yield name
    for pool in admin.list("ModelPool", name):
        admin.delete("ModelPool", name, pool["metadata"]["name"])


@pytest.fixture(scope="module")
def operator(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """Looks at every pool all the time, so that a test sees what it does without a cause."""
    folder = tmp_path_factory.mktemp("operator")
    process = OperatorProcess(
        control_plane, folder, "--resync-seconds", "0.3", "--lease-name", folder.name
    )
    try:
        process.wait_for("leader.elected")
        yield process
        assert process.logged("pool.crashed") == []
    finally:
        process.stop()


@pytest.fixture
def good(namespace: str) -> Callable[[str], dict[str, Any]]:
    """A good object by the name of its file, for the test's namespace."""

    def read(name: str) -> dict[str, Any]:
        body: dict[str, Any] = yaml.safe_load((GOOD / f"{name}.yaml").read_text())
        body["metadata"]["namespace"] = namespace
        return body

    return read
