"""The real Helm, and a cluster in which nothing of Headway is yet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.build import CONTROL_PLANE
from control_plane.plane import ControlPlane
from go_toolchain import Unavailable
from helm_cli import HELM, Helm
from machine_cache import Tell


@pytest.fixture(scope="session")
def helm_binary(tell: Tell) -> Path:
    try:
        return HELM.binary(tell)
    except Unavailable as reason:
        tell(f"nothing of the chart is tested: {reason}")
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def helm(helm_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Without a cluster."""
    return Helm(helm_binary, tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def bare_cluster(tell: Tell, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Without the definitions, which the chart brings."""
    try:
        binary = CONTROL_PLANE.binary(tell)
    except Unavailable as reason:
        pytest.skip(str(reason))
    plane = ControlPlane(binary, tmp_path_factory.mktemp("bare-cluster"))
    try:
        plane.start(())
        yield plane
    finally:
        plane.stop()
