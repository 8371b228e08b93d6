import json
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import enable_created_metrics

from headway_cli import router as command

POOL = """\
apiVersion: headway.dev/v1alpha1
kind: ModelPool
metadata: {name: tiny}
spec:
  model: {name: tiny}
  groups:
    - {name: g, workload: Static, endpoints: [{name: a, address: 127.0.0.1, port: 9}]}
"""
FREE_PORTS = [
    part
    for flag in ("--grpc-port", "--grpc-health-port", "--metrics-port", "--debug-port")
    for part in (flag, "0")
]


@pytest.fixture(autouse=True)
def _process_wide_state_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("headway_router")
    logging_before = root.handlers[:], root.level, ours.level
    signals = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    yield
    root.handlers[:] = logging_before[0]
    root.setLevel(logging_before[1])
    ours.setLevel(logging_before[2])
    for one, handler in signals.items():
        signal.signal(one, handler)
    enable_created_metrics()  # type: ignore[no-untyped-call]  # its package left it so


WITH_A_BROKEN_PART = """
import asyncio, sys
from headway_cli import router
from headway_router import app

async def failing(*_):
    await asyncio.sleep(0)
    raise ZeroDivisionError("the sampler is broken")

app.sample_lag = failing
sys.exit(router.main(sys.argv[1:]))
"""


def test_a_part_that_fails_ends_the_process_with_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "pool.yaml").write_text(POOL)
    command_line = [sys.executable, "-c", WITH_A_BROKEN_PART, "--config", str(tmp_path)]
    ended = subprocess.run(
        [*command_line, *FREE_PORTS], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    last = json.loads(ended.stderr.splitlines()[-1])
    assert last["event"] == "router.crashed"
    assert "ZeroDivisionError: the sampler is broken" in last["traceback"]


def test_a_configuration_with_problems_is_refused_with_all_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pool.yaml").write_text(POOL.replace("port: 9", "port: 0").replace("Static", "No"))
    assert command.main(["--config", str(tmp_path), *FREE_PORTS]) == 2
    printed = capsys.readouterr().err
    assert "spec.groups[0].endpoints[0].port" in printed
    assert "spec.groups[0].workload" in printed


@pytest.mark.parametrize("flag", FREE_PORTS[::2])
def test_a_taken_port_is_named_with_its_flag(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pool.yaml").write_text(POOL)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert command.main(["--config", str(tmp_path), *FREE_PORTS, flag, port]) == 2
    refusal = f"headway router: {flag}: cannot listen on 127.0.0.1:{port}"
    assert refusal in capsys.readouterr().err


def test_a_certificate_that_cannot_be_used_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pool.yaml").write_text(POOL)
    flags = ["--config", str(tmp_path), "--cert-dir", str(tmp_path), *FREE_PORTS]
    assert command.main(flags) == 2
    problem = f"headway router: {tmp_path / 'tls.crt'}: no such file\n"
    assert capsys.readouterr().err == problem


def test_bad_flags_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--config", str(tmp_path), "--grpc-port", "-1"]) == 2
    assert capsys.readouterr().err.startswith("headway router: --grpc-port: ")
