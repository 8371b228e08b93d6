"""Fixtures that several packages' tests share."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from control_plane.build import CONTROL_PLANE
from control_plane.plane import ControlPlane
from go_toolchain import Unavailable
from headway_api.definitions import DEFINITIONS, manifest
from machine_cache import Tell

# grpc is used in this process, and other tests start children from it: its fork handlers would stop
# and restart its threads each time.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared_file() -> Callable[[str], Path]:
    """Path of a file of the data folder; skips the test, naming the file, where it is missing."""
    folder = Path(os.environ.get("HEADWAY_DATA", ROOT.parent / "shared" / "data"))

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"needs {name} in the data folder ({folder}; set HEADWAY_DATA)")
        return path

    return find


@pytest.fixture(scope="session")
def tell(pytestconfig: pytest.Config) -> Tell:
    """Prints past the capture: an installation takes minutes and must be seen to go on."""
    reporter = pytestconfig.pluginmanager.get_plugin("terminalreporter")
    capture = pytestconfig.pluginmanager.get_plugin("capturemanager")
    assert reporter is not None and capture is not None

    def line(text: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.write_line(text)

    return line


@pytest.fixture(scope="session")
def control_plane(tell: Tell, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real Kubernetes API server with both kinds defined; tests use namespaces of their own."""
    try:
        binary = CONTROL_PLANE.binary(tell)
    except Unavailable as reason:
        tell(f"nothing is tested against a real Kubernetes: {reason}")
        pytest.skip(str(reason))
    plane = ControlPlane(binary, tmp_path_factory.mktemp("control-plane"))
    try:
        plane.start(manifest(definition) for definition in DEFINITIONS)
        yield plane
    finally:
        plane.stop()
