"""Starts routers and an Envoy in front of engines."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
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
    first_token_tap: bool = True,
    slo_ttft_ms: int | None = None,
    prefix_mode: PrefixAffinity | None = None,
    policies: Mapping[str, Mapping[str, Any]] | None = None,
    router_check_s: float = 2.0,
    program: Sequence[str] | None = None,
    operator: str | None = None,
    namespace: str = "default",
    **router_flags: object,
) -> AsyncIterator[Stack]:
    """One pool per model of the engines, which go on when the stack has ended.

    ``routers`` are commands, of so many ``processes`` each; ``program`` takes the place of
    ``python -m headway_cli``.  ``policies``: what each model's pool is routed by.  With an
    ``operator`` its pools are used, which are in ``namespace``; else files say the same.  Without
    ``has_pools`` Envoy knows neither pools nor endpoints, as in the chart.
    """
    config = folder / "config"
    if operator is None:
        config = _write_config(folder, engines, slo_ttft_ms)
        if prefix_mode is not None:
            mode = {"strategy": {"affinity": {"prefix": {"mode": prefix_mode}}}}
            policies = dict.fromkeys(_models(engines), mode)
        for model, policy in (policies or {}).items():
            write_policy(config, model, policy)
        router_flags = {"config": config, **router_flags}
    else:
        router_flags = {"operator": operator, **router_flags}
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
            await children.start(f"router-{number}", router_command(program, **router_flags))
            for number in range(routers)
        ]
        ready = [router for child in started for router in await ready_routers(child, processes)]
        gateway = Gateway(
            pools=tuple(
                UpstreamPool(name=f"{namespace}/{model}", endpoints=_addresses(engines, model))
                for model in _models(engines)
                if has_pools
            ),
            routers=tuple(router.ext_proc_address for router in ready),
            router_tls=router_tls,
            body_mode=body_mode,
            first_token_tap=first_token_tap,
            body_limit_bytes=GATEWAY_BODY_LIMIT,
            router_check_s=router_check_s,
        )
        envoy = await start_envoy(children, folder, bootstrap(gateway))
        yield Stack(
            engines=engines,
            routers=ready,
            envoy=envoy,
            children=children,
            config=config,
            session=session,
        )


def router_command(program: Sequence[str] | None = None, **flags: object) -> list[str]:
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
    command = headway("router", **(usual | flags))
    return command if program is None else [*program, *command[3:]]


def _write_config(folder: Path, engines: Sequence[Engine], slo_ttft_ms: int | None) -> Path:
    config = folder / "config"
    config.mkdir()
    for model in _models(engines):
        group = static_group(_addresses(engines, model))
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


def static_group(addresses: Sequence[str]) -> dict[str, Any]:
    endpoints = []
    for number, address in enumerate(addresses):
        host, _, port = address.rpartition(":")
        endpoints.append({"name": f"e{number}", "address": host, "port": int(port)})
    return {"name": "tiny", "workload": "Static", "endpoints": endpoints}


def write_policy(config: Path, model: str, policy: Mapping[str, Any]) -> None:
    document = {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "RoutingPolicy",
        "metadata": {"name": model},
        "spec": {"targetRefs": [{"name": model}], **policy},
    }
    # Moved there as a whole: a router may be reading.
    written = config / f".{model}-policy"
    written.write_text(json.dumps(document))
    written.rename(config / f"{model}-policy.yaml")


def _models(engines: Sequence[Engine]) -> list[str]:
    return list(dict.fromkeys(engine.model for engine in engines))


def _addresses(engines: Sequence[Engine], model: str) -> tuple[str, ...]:
    return tuple(engine.address for engine in engines if engine.model == model)
