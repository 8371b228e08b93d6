"""What the server runs with, after every flag has been checked."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headway_engine.block_hashes import ALGORITHMS, DEFAULT_SEED
from headway_engine.errors import SettingsInvalid
from headway_sim.engine.config import EngineConfig, SchedulingPolicy
from headway_sim.errors import InvalidEngineConfig, SimulatorError
from headway_sim.profiles import profile
from headway_sim.step_model import StepModel

DEFAULT_PROFILE = "tiny"


class KvEventsConfig(BaseModel):
    """``--kv-events-config``, with vLLM's names and defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enable_kv_cache_events: bool = False
    publisher: Literal["zmq", "null"] = "zmq"
    endpoint: str = "tcp://*:5557"
    replay_endpoint: str | None = None
    buffer_steps: int = Field(default=10_000, ge=1)
    hwm: int = Field(default=100_000, ge=0)
    max_queue_size: int = Field(default=100_000, ge=1)
    topic: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The command line, one field per flag; None: not given."""

    host: str = "127.0.0.1"
    port: int = 8000
    control_port: int | None = None
    model: str = "tiny"
    tokenizer: str | None = None
    served_model_name: Sequence[str] | None = None
    profile: str = DEFAULT_PROFILE
    dilation: float = 1.0
    output_tokens: int = 1024
    max_model_len: int | None = None
    block_size: int | None = None
    num_gpu_blocks_override: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    scheduling_policy: str = "fcfs"
    enable_prefix_caching: bool = True
    prefix_caching_hash_algo: str = "sha256"
    async_scheduling: bool = True
    kv_events_config: str | None = None
    kv_cache_metrics: bool = False
    max_num_queued_reqs: int | None = None
    enable_lora: bool = False
    max_loras: int = 1
    lora_modules: Sequence[str] = ()
    enable_prompt_tokens_details: bool = False
    enable_request_id_headers: bool = False
    enable_per_request_metrics: bool = False
    enable_server_load_tracking: bool = False
    enable_force_include_usage: bool = False
    stream_interval: int = 1
    shutdown_timeout: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    flags: Flags
    engine: EngineConfig
    step_model: StepModel
    served_names: tuple[str, ...]
    """The names of the model; answers carry the first."""
    adapters: tuple[tuple[str, str], ...]
    """(name, path)."""
    kv_events: KvEventsConfig | None
    """None: no events."""
    hash_seed: str
    dev_mode: bool
    runtime_lora: bool

    @property
    def max_loras(self) -> int | None:
        return self.flags.max_loras if self.flags.enable_lora else None


def resolve(flags: Flags, environment: Mapping[str, str]) -> Settings:
    """Raises: SettingsInvalid: naming the flag."""
    if not (math.isfinite(flags.dilation) and flags.dilation > 0):
        raise SettingsInvalid(f"--dilation: must be a number above 0, got {flags.dilation}")
    for flag, value in (
        ("--output-tokens", flags.output_tokens),
        ("--stream-interval", flags.stream_interval),
    ):
        if value < 1:
            raise SettingsInvalid(f"{flag}: must be >= 1, got {value}")
    if flags.prefix_caching_hash_algo not in ALGORITHMS:
        raise SettingsInvalid(
            f"--prefix-caching-hash-algo: one of {', '.join(ALGORITHMS)} is simulated, "
            f"got {flags.prefix_caching_hash_algo}"
        )
    try:
        chosen = profile(flags.profile)
    except SimulatorError as error:
        raise SettingsInvalid(f"--profile: {error}") from error
    engine = _engine_config(flags, chosen.config)
    return Settings(
        flags=flags,
        engine=engine,
        step_model=chosen.with_config(engine).step_model,
        served_names=tuple(flags.served_model_name or (flags.model,)),
        adapters=_adapters(flags),
        kv_events=_kv_events(flags.kv_events_config),
        hash_seed=environment.get("PYTHONHASHSEED") or DEFAULT_SEED,
        dev_mode=_is_on(environment, "VLLM_SERVER_DEV_MODE"),
        runtime_lora=_is_on(environment, "VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
    )


_FLAG_OF_FIELD = {
    "num_blocks": "--num-gpu-blocks-override",
    "max_num_seqs": "--max-num-seqs",
    "max_num_batched_tokens": "--max-num-batched-tokens",
    "max_model_len": "--max-model-len",
    "block_tokens": "--block-size",
    "max_loras": "--max-loras",
    "policy": "--scheduling-policy",
}


def _engine_config(flags: Flags, defaults: EngineConfig) -> EngineConfig:
    blocks = flags.num_gpu_blocks_override
    if blocks is None and flags.block_size is not None and flags.block_size > 0:
        # The same memory, cut differently.
        blocks = defaults.num_blocks * defaults.block_tokens // flags.block_size
    given = {
        "num_blocks": blocks,
        "max_num_seqs": flags.max_num_seqs,
        "max_num_batched_tokens": flags.max_num_batched_tokens,
        "max_model_len": flags.max_model_len,
        "block_tokens": flags.block_size,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if flags.scheduling_policy not in set(SchedulingPolicy):
        raise SettingsInvalid(
            f"--scheduling-policy: fcfs or priority, got {flags.scheduling_policy!r}"
        )
    try:
        return replace(
            defaults,
            policy=SchedulingPolicy(flags.scheduling_policy),
            prefix_caching=flags.enable_prefix_caching,
            async_scheduling=flags.async_scheduling,
            max_loras=flags.max_loras if flags.enable_lora else 0,
            **changes,
        )
    except InvalidEngineConfig as error:
        flag = _FLAG_OF_FIELD.get(error.field, error.field)
        raise SettingsInvalid(f"{flag}: {error}") from error


def _adapters(flags: Flags) -> tuple[tuple[str, str], ...]:
    if flags.lora_modules and not flags.enable_lora:
        raise SettingsInvalid("--lora-modules: needs --enable-lora")
    if flags.enable_lora and flags.max_loras < 1:
        raise SettingsInvalid(f"--max-loras: must be >= 1, got {flags.max_loras}")
    pairs = []
    for module in flags.lora_modules:
        name, _, path = module.partition("=")
        if module.startswith("{"):
            try:
                entry = json.loads(module)
                name, path = entry["name"], entry["path"]
            except (ValueError, KeyError) as error:
                raise SettingsInvalid(f"--lora-modules: {module!r} needs name and path") from error
        if not (name and path):
            raise SettingsInvalid(f"--lora-modules: must be name=path, got {module!r}")
        pairs.append((name, path))
    return tuple(pairs)


def _kv_events(text: str | None) -> KvEventsConfig | None:
    if text is None:
        return None
    try:
        config = KvEventsConfig.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, fault["loc"])) or "not the JSON of an object"
        raise SettingsInvalid(f"--kv-events-config: {place}: {fault['msg']}") from error
    return config if config.enable_kv_cache_events else None


def _is_on(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "0").strip().lower() in ("1", "true")


def model_root(flags: Flags) -> str:
    """What ``/v1/models`` names as the root."""
    return str(Path(flags.model))
