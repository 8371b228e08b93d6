"""A fleet of the demo: engines of two kinds, one pool, one target."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headway_core.facts import EndpointId, Slo
from headway_sim.profiles import EngineProfile, profile

MODEL = "llama-3.1-8b"
PROFILE = "llama-3.1-8b-tp1-four-term"
"""Linear, so that what a fleet prefills is one number whatever the prompts are."""
POOL = "demo"
NAMESPACE = "default"
HOST = "127.0.0.1"
BLOCK_TOKENS = 16
STREAM_INTERVAL = 8
"""Tokens per chunk after the first: as engines with many users are set; it saves CPU here too."""

STALE_AFTER_S = 5.0
QUEUE_TIMEOUT_S = 30.0
SCRAPE_MIN_S = 0.1
SCRAPE_MAX_S = 2.0
"""The router's defaults, in engine seconds."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    name: str
    accelerator: str
    """As a ModelPool names it."""
    group: str
    profile_name: str

    @property
    def profile(self) -> EngineProfile:
        return profile(self.profile_name)


def two_of_each(*accelerators: str) -> tuple[EngineSpec, ...]:
    """For example of ``h100-80gb``, whose group and engines are then called ``h100``."""
    groups = {accelerator: accelerator.partition("-")[0] for accelerator in accelerators}
    return tuple(
        EngineSpec(f"{group}-{number}", accelerator, group, f"{group}-{PROFILE}")
        for accelerator, group in groups.items()
        for number in (0, 1)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSpec:
    """The engines, what they are given for a workload, and what is asked of them."""

    engines: tuple[EngineSpec, ...]

    max_model_len: int
    kv_cache_tokens: int | None
    """None: all that the accelerator holds beside the model."""
    slo: Slo


def engine_command(spec: EngineSpec, fleet: FleetSpec, dilation: float) -> list[str]:
    command = headway("engine", host=HOST, port=0, profile=spec.profile_name)
    command += flags(served_model_name=MODEL, dilation=dilation, stream_interval=STREAM_INTERVAL)
    command += flags(max_model_len=fleet.max_model_len)
    command.append("--enable-prompt-tokens-details")
    if fleet.kv_cache_tokens is not None:
        # One block of every engine is a null block.
        blocks = fleet.kv_cache_tokens // BLOCK_TOKENS + 1
        command += flags(block_size=BLOCK_TOKENS, num_gpu_blocks_override=blocks)
    return command


def router_command(folder: str, dilation: float) -> list[str]:
    """Its clock is the wall's, so its intervals are dilated as the engines are."""
    return headway(
        "router",
        config=folder,
        grpc_port=0,
        grpc_health_port=0,
        metrics_port=0,
        debug_port=0,
        secure_serving=False,
        scrape_min_ms=1000 * SCRAPE_MIN_S * dilation,
        scrape_max_ms=1000 * SCRAPE_MAX_S * dilation,
        drain_timeout_s=0,
        log_level="warning",
    )


def documents(
    addresses: Mapping[str, EndpointId], fleet: FleetSpec, dilation: float
) -> list[dict[str, Any]]:
    """The ModelPool and its RoutingPolicy; ``addresses`` by engine name.

    Durations are stretched and rates are slowed by the dilation.
    """
    slo = {
        "ttftMs": round(1000 * fleet.slo.ttft_s * dilation),
        "ttftMsPer1kTokens": round(1000 * fleet.slo.ttft_s_per_1k_tokens * dilation),
    }
    groups = dict.fromkeys(spec.group for spec in fleet.engines)
    pool = {
        "model": {"name": MODEL},
        "groups": [
            _group([spec for spec in fleet.engines if spec.group == group], addresses, dilation)
            for group in groups
        ],
        "slo": slo,
    }
    policy = {
        "targetRefs": [{"name": POOL}],
        "strategy": {"staleAfterMs": round(1000 * STALE_AFTER_S * dilation)},
        "flowControl": {"queueTimeoutSeconds": round(QUEUE_TIMEOUT_S * dilation)},
    }
    return [_document("ModelPool", pool), _document("RoutingPolicy", policy)]


def _group(
    specs: Sequence[EngineSpec], addresses: Mapping[str, EndpointId], dilation: float
) -> dict[str, Any]:
    tokens_per_s = specs[0].profile.prefill_tokens_per_s
    endpoints = []
    for spec in specs:
        host, _, port = addresses[spec.name].rpartition(":")
        endpoints.append({"name": spec.name, "address": host, "port": int(port)})
    return {
        "name": specs[0].group,
        "workload": "Static",
        "accelerator": {"type": specs[0].accelerator},
        "capacity": {"prefillTokensPerSecond": round(tokens_per_s / dilation)},
        "endpoints": endpoints,
    }


def _document(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": POOL, "namespace": NAMESPACE}
    return {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    }


def headway(subcommand: str, **values: object) -> list[str]:
    """The command line of another program of this very installation."""
    return [sys.executable, "-m", "headway_cli", subcommand, *flags(**values)]


def flags(**values: object) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
