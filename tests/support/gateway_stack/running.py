"""Starts routers and an Envoy in front of engines."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from engine_contract.process import free_port
from gateway_stack.engines import Engine
from gateway_stack.stack import GATEWAY_BODY_LIMIT, PATIENCE_S, ROUTER_BODY_LIMIT, Stack
from headway_cli.demo.fleet import headway
from headway_cli.demo.gateway import start_envoy
from headway_cli.demo.processes import Children
from headway_cli.demo.programs import ready_routers
from headway_core.policy import PrefixAffinity
from headway_router.envoy import BodyMode, Gateway, RouterTls, UpstreamPool, bootstrap


@asynccontextmanager
async def running_stack(
    folder: Path,
    engines: Sequence[Engine],
    *,
    routers: int = 1,
    processes: int = 1,
    has_pools: bool = True,
    router_tls: RouterTls | None = None,
    body_mode: BodyMode = BodyMode.BUFFERED,
    slo_ttft_ms: int | None = None,
    prefix_mode: PrefixAffinity | None = None,
    **router_flags: object,
) -> AsyncIterator[Stack]:
    """One pool per model of the engines, which go on when the stack has ended.

    ``routers`` are commands, of so many ``processes`` each.  Without ``has_pools`` Envoy knows
    neither pools nor endpoints, as in the chart.
    """
    config = _write_config(folder, engines, slo_ttft_ms)
    if prefix_mode is not None:
        _write_policy(config, engines, prefix_mode)
    async with (
        Children(folder) as children,
        aiohttp.ClientSession(
            # No connection is kept, which an engine might close while a request is on its way.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=0),
            timeout=aiohttp.ClientTimeout(total=2 * PATIENCE_S),
        ) as session,
    ):
        router_flags = {"secure_serving": router_tls is not None, **router_flags}
        router_flags = {"single_destination": not has_pools, **router_flags}
        if processes > 1:
            router_flags = {"grpc_port": 0, **router_flags, "processes": processes}
        started = [
            await children.start(f"router-{number}", router_command(config, **router_flags))
            for number in range(routers)
        ]
        ready = [router for child in started for router in await ready_routers(child, processes)]
        gateway = Gateway(
            pools=tuple(
                UpstreamPool(name=f"default/{model}", endpoints=_addresses(engines, model))
                for model in _models(engines)
                if has_pools
            ),
            routers=tuple(router.ext_proc_address for router in ready),
            router_tls=router_tls,
            body_mode=body_mode,
            body_limit_bytes=GATEWAY_BODY_LIMIT,
        )
        envoy = await start_envoy(children, folder, bootstrap(gateway))
        yield Stack(engines=engines, routers=ready, envoy=envoy, session=session)


def router_command(config: Path, **flags: object) -> list[str]:
    """On free ports, and gone at once when told to, unless the flags say otherwise.

    The port of a router that has ended stays free for the one in its place.
    """
    usual: dict[str, object] = {
        "grpc_port": free_port(),
        "grpc_health_port": 0,
        "metrics_port": 0,
        "debug_port": 0,
        "drain_timeout_s": 0,
        "max_body_bytes": ROUTER_BODY_LIMIT,
        "secure_serving": False,
    }
    return headway("router", config=config, **(usual | flags))


def _write_config(folder: Path, engines: Sequence[Engine], slo_ttft_ms: int | None) -> Path:
    config = folder / "config"
    config.mkdir()
    for model in _models(engines):
        endpoints = []
        for number, address in enumerate(_addresses(engines, model)):
            host, _, port = address.rpartition(":")
            endpoints.append({"name": f"e{number}", "address": host, "port": int(port)})
        group = {"name": "tiny", "workload": "Static", "endpoints": endpoints}
        spec: dict[str, Any] = {"model": {"name": model}, "groups": [group]}
        if slo_ttft_ms is not None:
            spec["slo"] = {"ttftMs": slo_ttft_ms}
        document = {
            "apiVersion": "headway.dev/v1alpha1",
            "kind": "ModelPool",
            "metadata": {"name": model},
            "spec": spec,
        }
        # JSON is YAML.
        (config / f"{model}.yaml").write_text(json.dumps(document))
    return config


def _write_policy(config: Path, engines: Sequence[Engine], prefix_mode: PrefixAffinity) -> None:
    document = {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "RoutingPolicy",
        "metadata": {"name": "all"},
        "spec": {
            "targetRefs": [{"name": model} for model in _models(engines)],
            "strategy": {"affinity": {"prefix": {"mode": prefix_mode}}},
        },
    }
    (config / "policy.yaml").write_text(json.dumps(document))


def _models(engines: Sequence[Engine]) -> list[str]:
    return list(dict.fromkeys(engine.model for engine in engines))


def _addresses(engines: Sequence[Engine], model: str) -> tuple[str, ...]:
    return tuple(engine.address for engine in engines if engine.model == model)
