"""``headway router`` as its users run it."""

import json
import queue
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from envoy.service.ext_proc.v3.external_processor_pb2_grpc import ExternalProcessorStub
from grpc_health.v1 import health_pb2, health_pb2_grpc

pytestmark = pytest.mark.slow

POOL = """\
apiVersion: headway.dev/v1alpha1
kind: ModelPool
metadata: {{name: {name}}}
spec:
  model: {{name: {name}}}
  groups:
    - name: g
      workload: Static
      endpoints: [{{name: a, address: 127.0.0.1, port: {port}}}]
"""
EXT_PROC = "envoy.service.ext_proc.v3.ExternalProcessor"
FREE_PORTS = ("--grpc-port", "--grpc-health-port", "--metrics-port", "--debug-port")


class RouterProcess:
    def __init__(self, *flags: str) -> None:
        command = (sys.executable, "-m", "headway_cli", "router", *flags)
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.ports: dict[str, int] = json.loads(self.process.stdout.readline())

    def log(self, event: str) -> dict[str, Any]:
        """The next line with that event; fails if the process ends before."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            entry: dict[str, Any] = json.loads(line)
            if entry["event"] == event:
                return entry
        raise AssertionError(f"the log ended without {event}")

    def get(self, port: str, path: str) -> str:
        with urlopen(f"http://127.0.0.1:{self.ports[port]}{path}", timeout=60) as answer:
            text: str = answer.read().decode()
        return text

    def debug(self) -> dict[str, Any]:
        page: dict[str, Any] = json.loads(self.get("debug_port", "/debug"))
        return page

    def health(self, port: str, service: str) -> str:
        with grpc.insecure_channel(f"127.0.0.1:{self.ports[port]}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            response = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
        name: str = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
        return name

    def ends_with(self) -> int:
        return self.process.wait(timeout=240)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pool.yaml").write_text(POOL.format(name="tiny", port=9))
    return tmp_path


@contextmanager
def _router(folder: Path, *flags: str) -> Iterator[RouterProcess]:
    free = [part for flag in FREE_PORTS for part in (flag, "0")]
    free.append("--secure-serving=false")
    router = RouterProcess("--config", str(folder), *free, *flags)
    try:
        yield router
    finally:
        router.process.kill()
        router.process.communicate()


class Exchange:
    """A request that was routed and whose response has not ended."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._messages: queue.SimpleQueue[pb.ProcessingRequest | None] = queue.SimpleQueue()
        stream = ExternalProcessorStub(channel).Process
        self._replies = stream(iter(self._messages.get, None), timeout=300)
        first = pb.ProcessingRequest()
        first.protocol_config.request_body_mode = 2  # BUFFERED
        for key, value in {":method": "POST", ":path": "/v1/completions"}.items():
            first.request_headers.headers.headers.add(key=key, raw_value=value.encode())
        body = pb.ProcessingRequest()
        body.request_body.body = b'{"model":"tiny","prompt":"hello"}'
        body.request_body.end_of_stream = True
        for message in (first, body):
            self._messages.put(message)
            reply = next(self._replies)
        mutation = reply.request_body.response.header_mutation
        assert b"127.0.0.1:9" in {option.header.raw_value for option in mutation.set_headers}

    def end(self) -> None:
        """Raises: grpc.RpcError: the router has cut it off."""
        self._messages.put(None)
        assert list(self._replies) == []


@contextmanager
def _exchange(router: RouterProcess) -> Iterator[Exchange]:
    with grpc.insecure_channel(f"127.0.0.1:{router.ports['grpc_port']}") as channel:
        yield Exchange(channel)


@pytest.mark.parametrize("transport", ["grpc-aio", "h2"])
def test_serves_and_tells_where(folder: Path, transport: str) -> None:
    with _router(folder, "--transport", transport) as router:
        assert router.ports.pop("event") == "router.ready"  # type: ignore[comparison-overlap]
        assert len(set(router.ports.values())) == 4
        assert router.health("grpc_health_port", "readiness") == "SERVING"
        assert router.health("grpc_port", EXT_PROC) == "SERVING"
        with _exchange(router) as exchange:
            assert router.debug()["leases_outstanding"] == 1
            page = router.get("metrics_port", "/metrics")
            exchange.end()
        assert "headway_leases_outstanding 1.0" in page
        assert 'headway_requests_total{outcome="placed",pool="default/tiny"} 1.0' in page
        assert "_created" not in page
        assert router.debug()["requests"] == {"default/tiny": {"placed": 1}}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/net/tcp")
def test_debug_listens_on_loopback_only(folder: Path) -> None:
    with _router(folder, "--host", "0.0.0.0") as router:
        debug_port = router.ports["debug_port"]
        listening = {
            line.split()[1]
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
            if line.split()[3] == "0A"
        }
        assert f"0100007F:{debug_port:04X}" in listening
        assert f"00000000:{debug_port:04X}" not in listening
        assert f"00000000:{router.ports['metrics_port']:04X}" in listening


def test_follows_its_folder_and_keeps_the_last_good_configuration(folder: Path) -> None:
    with _router(folder) as router:
        router.log("config.applied")
        (folder / "more.yaml").write_text(POOL.format(name="more", port=10))
        router.log("config.applied")
        assert set(router.debug()["pools"]) == {"default/tiny", "default/more"}
        (folder / "more.yaml").write_text(POOL.format(name="more", port="many"))
        router.log("config.rejected")
        debug = router.debug()
        assert set(debug["pools"]) == {"default/tiny", "default/more"}
        assert "spec.groups[0].endpoints[0].port" in debug["configuration"]["problems"][0]
        assert "headway_config_problems 1.0" in router.get("metrics_port", "/metrics")


@pytest.mark.parametrize("transport", ["grpc-aio", "h2"])
def test_drains_on_sigterm(folder: Path, transport: str) -> None:
    flags = ("--drain-notice-s", "15", "--drain-timeout-s", "120", "--transport", transport)
    with _router(folder, *flags) as router, _exchange(router) as exchange:
        router.process.send_signal(signal.SIGTERM)
        assert router.log("router.draining")["streams_open"] == 1
        for port in ("grpc_port", "grpc_health_port"):
            assert router.health(port, "") == "NOT_SERVING"
            assert router.health(port, "liveness") == "SERVING"
        with _exchange(router) as late:
            assert router.debug()["process"]["streams_open"] == 2
            late.end()
        assert router.process.poll() is None
        exchange.end()
        assert router.ends_with() == 0


@pytest.mark.parametrize("transport", ["grpc-aio", "h2"])
def test_a_stream_that_does_not_end_delays_the_exit_up_to_the_timeout(
    folder: Path, transport: str
) -> None:
    flags = ("--drain-timeout-s", "0.3", "--transport", transport)
    with _router(folder, *flags) as router, _exchange(router) as exchange:
        router.process.send_signal(signal.SIGTERM)
        assert router.ends_with() == 0
        with pytest.raises(grpc.RpcError):
            exchange.end()


def test_a_second_signal_ends_it_at_once(folder: Path) -> None:
    with _router(folder) as router, _exchange(router):
        router.process.send_signal(signal.SIGTERM)
        router.log("router.draining")
        router.process.send_signal(signal.SIGTERM)
        assert router.ends_with() == -signal.SIGTERM
