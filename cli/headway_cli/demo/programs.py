"""Starts the engines and the router of a run, each on ports of its own choice."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from headway_cli.demo.errors import ChildNotReady
from headway_cli.demo.fleet import (
    HOST,
    FleetSpec,
    documents,
    engine_command,
    router_command,
)
from headway_cli.demo.processes import START_TIMEOUT_S, Child, Children, ready_line, ready_lines
from headway_core.facts import EndpointId

_ENGINE_READY = re.compile(r" on http://(?P<address>[^ ,]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterProcess:
    child: Child
    ext_proc_address: str
    metrics_url: str
    debug_url: str


async def start_engines(
    children: Children, fleet: FleetSpec, dilation: float
) -> dict[str, EndpointId]:
    """Addresses by engine name.

    Raises:
        ChildDied, ChildNotReady.
    """
    started = {
        spec.name: await children.start(spec.name, engine_command(spec, fleet, dilation))
        for spec in fleet.engines
    }
    return {name: _address(child, await ready_line(child)) for name, child in started.items()}


def _address(child: Child, line: str) -> EndpointId:
    found = _ENGINE_READY.search(line)
    if found is None:
        raise ChildNotReady(child.name, START_TIMEOUT_S, line)
    return found["address"]


async def start_router(
    children: Children,
    folder: Path,
    addresses: Mapping[str, EndpointId],
    fleet: FleetSpec,
    dilation: float,
) -> RouterProcess:
    """``folder`` gets its configuration.

    Raises:
        ChildDied, ChildNotReady.
    """
    _write_configuration(folder, documents(addresses, fleet, dilation))
    child = await children.start("router", router_command(str(folder), dilation))
    return await ready_router(child)


async def ready_router(child: Child) -> RouterProcess:
    """Raises: ChildDied, ChildNotReady."""
    [router] = await ready_routers(child, 1)
    return router


async def ready_routers(child: Child, processes: int) -> list[RouterProcess]:
    """All of one command ``headway router --processes N``.  Raises: ChildDied, ChildNotReady."""
    return [_router(child, json.loads(line)) for line in await ready_lines(child, processes)]


def _router(child: Child, ports: Mapping[str, int]) -> RouterProcess:
    return RouterProcess(
        child=child,
        ext_proc_address=f"{HOST}:{ports['grpc_port']}",
        metrics_url=f"http://{HOST}:{ports['metrics_port']}/metrics",
        debug_url=f"http://{HOST}:{ports['debug_port']}/debug",
    )


def _write_configuration(folder: Path, configuration: Sequence[Mapping[str, Any]]) -> None:
    folder.mkdir()
    texts = [yaml.safe_dump(document, sort_keys=False) for document in configuration]
    (folder / "demo.yaml").write_text("---\n".join(texts))
