"""``headway probe``: yes from all, or which one did not say so, and why."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from engine_contract.process import free_port
from headway_cli.probe import main


class Handler(BaseHTTPRequestHandler):
    refusals = 0

    def do_GET(self) -> None:
        is_refused = self.path == "/never" or Handler.refusals > 0
        Handler.refusals -= 1
        self.send_response(503 if is_refused else 200)
        self.end_headers()
        self.wfile.write(b"not now" if is_refused else b"yes")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.refusals = 0
    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def test_all_of_them_say_yes(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"{server}/a", f"{server}/b"]) == 0
    assert capsys.readouterr().out == f"{server}/a: ok\n{server}/b: ok\n"


def test_it_asks_again(server: str) -> None:
    Handler.refusals = 1
    assert main([f"{server}/a"]) == 0


def test_a_no_is_told_with_its_reason(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--timeout-s", "0", f"{server}/never"]) == 1
    assert capsys.readouterr().err == f"headway probe: {server}/never: status 503: not now\n"


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_there_is_a_no(scheme: str, capsys: pytest.CaptureFixture[str]) -> None:
    target = f"{scheme}://127.0.0.1:{free_port()}/readiness"
    assert main(["--timeout-s", "0", target]) == 1
    assert capsys.readouterr().err.startswith(f"headway probe: {target}: ")


@pytest.mark.parametrize("target", ["ftp://a/b", "readiness", "http:///a"])
def test_another_target_is_refused(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([target]) == 2
    assert repr(target) in capsys.readouterr().err
