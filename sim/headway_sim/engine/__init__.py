"""The engine model: a vLLM V1 engine without a GPU and without a clock."""

from headway_sim.engine.config import BATCH_DEFAULTS, EngineConfig, SchedulingPolicy
from headway_sim.engine.engine import Engine
from headway_sim.engine.facts import (
    EngineEvent,
    EngineRequest,
    EngineStats,
    FinishReason,
    KvCleared,
    KvRemoved,
    KvStored,
    Preempted,
    RequestFinished,
    Scheduled,
    TokenEmitted,
)

__all__ = [
    "BATCH_DEFAULTS",
    "Engine",
    "EngineConfig",
    "EngineEvent",
    "EngineRequest",
    "EngineStats",
    "FinishReason",
    "KvCleared",
    "KvRemoved",
    "KvStored",
    "Preempted",
    "RequestFinished",
    "Scheduled",
    "SchedulingPolicy",
    "TokenEmitted",
]
