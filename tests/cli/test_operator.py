"""``headway operator``: what it refuses before it does anything."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine_contract.process import free_port
from headway_cli.operator import main

INSECURE = ["--discovery-insecure"]


@pytest.fixture(autouse=True)
def outside_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """The command configures its process; the other tests are in it too."""
    loggers = [logging.getLogger(name) for name in (None, "asyncio", "headway_operator", "kopf")]
    before = [(logger, logger.level, logger.handlers[:], logger.propagate) for logger in loggers]
    yield
    for logger, level, handlers, propagate in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """Of a cluster where nothing listens."""
    server = {"server": f"http://127.0.0.1:{free_port()}"}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": server}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "--kubeconfig FILE is needed outside a cluster"),
        (["--kubeconfig", "/none"], "--kubeconfig: there is no file /none"),
    ],
    ids=["no cluster", "no file"],
)
def test_without_a_cluster_it_says_how_to_name_one(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"headway operator: {problem}\n"


def test_a_resync_that_would_never_end_is_refused(
    kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seconds in ("0", "-1", "nan"):
        assert main(["--kubeconfig", str(kubeconfig), "--resync-seconds", seconds]) == 2
        assert "--resync-seconds must be 0.1 at least" in capsys.readouterr().err


def test_a_file_that_is_no_kubeconfig_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("kind: Config\n")
    assert main([*INSECURE, "--kubeconfig", str(path)]) == 2
    assert "no way to the API server" in capsys.readouterr().err


def test_a_cluster_that_does_not_answer_is_named(
    kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*INSECURE, "--kubeconfig", str(kubeconfig)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("headway operator: ModelPools cannot be listed: GET /apis/headway.dev")
    assert "refused" in said


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "give exactly one of --discovery-tls-dir and --discovery-insecure"),
        (
            [*INSECURE, "--discovery-tls-dir", "/none"],
            "give exactly one of --discovery-tls-dir and --discovery-insecure",
        ),
        (["--discovery-tls-dir", "/none"], "--discovery-tls-dir: there is no folder /none"),
    ],
    ids=["neither", "both", "no folder"],
)
def test_how_routers_are_known_must_be_said(
    arguments: list[str], problem: str, kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--kubeconfig", str(kubeconfig), *arguments]) == 2
    assert capsys.readouterr().err == f"headway operator: {problem}\n"


def test_a_port_that_is_none_is_refused(
    kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--kubeconfig", str(kubeconfig), *INSECURE, "--discovery-port", "65536"])
    assert "'65536' is no port, 0 to 65535" in capsys.readouterr().err
