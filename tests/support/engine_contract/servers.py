"""The two kinds of engine, started with the same flags, and the two servers that the tests talk to.

``main`` has everything that can be observed switched on.  ``limited`` is small and refuses requests
beyond three, hashes with sha256_cbor, connects to its subscriber and has the development routes.
"""

import json
import os
import signal
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engine_contract.model_folder import write_adapter, write_model
from engine_contract.process import EngineProcess, free_port

MODEL = "tiny"
BLOCK_TOKENS = 32
BLOCKS = 200
MAX_MODEL_TOKENS = 2048
MAX_RUNNING = 8
MAX_IN_FLIGHT = 3
"""Of the limited server."""

ADAPTERS = ("sql", "chat")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSource:
    """Where one server publishes, as its flags say and ``/kv_event_sources`` must repeat."""

    endpoint: str
    replay_endpoint: str
    topic: str

    @property
    def flag(self) -> str:
        return json.dumps(
            {
                "enable_kv_cache_events": True,
                "publisher": "zmq",
                "endpoint": self.endpoint,
                "replay_endpoint": self.replay_endpoint,
                "topic": self.topic,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to start one server, whatever its kind."""

    name: str
    port: int
    flags: Sequence[str]
    environment: Mapping[str, str]
    events: EventSource
    hash_algorithm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Model and adapters on disk."""

    model: Path
    adapters: Path

    def adapter(self, name: str) -> str:
        return str(self.adapters / name)


class Kind(Protocol):
    """Simulated or real: the only differences between the two columns."""

    def start(self, plan: Plan, log: Path) -> EngineProcess: ...

    def crash(self, server: EngineProcess) -> None:
        """Makes the process that computes die, without a word to the HTTP server."""


class SimulatedKind:
    """``headway engine``; it crashes on request, through its control port."""

    def __init__(self) -> None:
        self._control_ports: dict[int, int] = {}

    def start(self, plan: Plan, log: Path) -> EngineProcess:
        control_port = free_port()
        ports = ["--port", str(plan.port), "--control-port", str(control_port)]
        command = [sys.executable, "-m", "headway_cli", "engine", *ports, *plan.flags]
        server = EngineProcess(command, port=plan.port, log=log, environment=plan.environment)
        self._control_ports[server.pid] = control_port
        return server

    def crash(self, server: EngineProcess) -> None:
        url = f"http://127.0.0.1:{self._control_ports[server.pid]}/crash_worker"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60):
            pass


class RealKind:
    """vLLM from its own interpreter; it crashes by SIGKILL of its worker process."""

    ENVIRONMENT: Mapping[str, str] = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
    }
    # bfloat16 kills the worker on CPUs with AMX when the first batch is one or two tokens.
    FLAGS = ("--load-format", "dummy", "--dtype", "float32", "--enforce-eager")

    def __init__(self, python: Path) -> None:
        self._python = python

    def start(self, plan: Plan, log: Path) -> EngineProcess:
        # `vllm serve` looks for a distribution called vllm; this one is called vllm-cpu.
        module = ["-m", "vllm.entrypoints.openai.api_server", "--port", str(plan.port)]
        command = [str(self._python), *module, *self.FLAGS, *plan.flags]
        environment = {**self.ENVIRONMENT, **plan.environment}
        return EngineProcess(command, port=plan.port, log=log, environment=environment)

    def crash(self, server: EngineProcess) -> None:
        os.kill(server.child("VLLM::Worker"), signal.SIGKILL)


def written_folders(folder: Path) -> Folders:
    write_model(folder / "model")
    for seed, name in enumerate(ADAPTERS):
        write_adapter(folder / "lora" / name, seed)
    return Folders(model=folder / "model", adapters=folder / "lora")


def main_plan(folders: Folders, sockets: Path) -> Plan:
    events = EventSource(
        endpoint=f"ipc://{sockets}/main.kv",
        replay_endpoint=f"ipc://{sockets}/main.replay",
        topic="kv@main@tiny",
    )
    adapters = [f"{name}={folders.adapter(name)}" for name in ADAPTERS]
    flags = [
        *_common_flags(folders, events),
        *("--max-num-seqs", str(MAX_RUNNING), "--max-num-batched-tokens", "512"),
        *("--scheduling-policy", "priority"),
        *("--enable-lora", "--max-loras", "1", "--max-cpu-loras", "4", "--max-lora-rank", "8"),
        *("--lora-modules", *adapters),
        *("--enable-request-id-headers", "--enable-prompt-tokens-details"),
        *("--enable-server-load-tracking", "--enable-per-request-metrics"),
        *("--kv-cache-metrics", "--kv-cache-metrics-sample", "1.0"),
    ]
    return Plan(
        name="main",
        port=free_port(),
        flags=flags,
        environment={},
        events=events,
        hash_algorithm="sha256",
    )


def limited_plan(folders: Folders) -> Plan:
    events = EventSource(
        endpoint=f"tcp://127.0.0.1:{free_port()}",
        replay_endpoint=f"tcp://127.0.0.1:{free_port()}",
        topic="kv@limited",
    )
    flags = [
        *_common_flags(folders, events),
        *("--max-num-seqs", "2", "--max-num-batched-tokens", "256"),
        *("--enable-lora", "--max-loras", "1", "--max-lora-rank", "8"),
        *("--prefix-caching-hash-algo", "sha256_cbor"),
        *("--max-num-queued-reqs", str(MAX_IN_FLIGHT), "--shutdown-timeout", "120"),
    ]
    environment = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
    return Plan(
        name="limited",
        port=free_port(),
        flags=flags,
        environment=environment,
        events=events,
        hash_algorithm="sha256_cbor",
    )


def _common_flags(folders: Folders, events: EventSource) -> list[str]:
    return [
        *("--model", str(folders.model), "--served-model-name", MODEL, "--host", "127.0.0.1"),
        *("--max-model-len", str(MAX_MODEL_TOKENS), "--block-size", str(BLOCK_TOKENS)),
        *("--num-gpu-blocks-override", str(BLOCKS), "--enable-prefix-caching"),
        *("--kv-events-config", events.flag),
    ]


class Engines:
    """Both servers of one kind; one that a test has ended is started again when next asked for."""

    def __init__(self, kind: Kind, plans: Sequence[Plan], logs: Path) -> None:
        self.kind = kind
        self._plans = {plan.name: plan for plan in plans}
        self._logs = logs
        self._running: dict[str, EngineProcess] = {}

    def start(self) -> None:
        """Starts both side by side: most of a start is spent on one core."""
        for name in self._plans:
            self._launch(name)
        for server in self._running.values():
            server.wait_until_healthy()

    def server(self, name: str) -> EngineProcess:
        if not self._running[name].is_alive:
            self._running[name].stop()
            self._launch(name)
            self._running[name].wait_until_healthy()
        return self._running[name]

    def stop(self) -> None:
        for server in self._running.values():
            server.stop()

    def _launch(self, name: str) -> None:
        log = self._logs / f"{name}.log"
        self._running[name] = self.kind.start(self._plans[name], log)
