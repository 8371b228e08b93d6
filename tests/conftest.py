"""Fixtures that several packages' tests share."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

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
