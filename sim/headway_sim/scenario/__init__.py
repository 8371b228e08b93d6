"""A run as one frozen value, read from a file or built in code."""

from headway_sim.scenario.file import load
from headway_sim.scenario.scenario import Scenario
from headway_sim.scenario.workload import (
    ConversationSource,
    PoissonSource,
    TraceSource,
    Workload,
)

__all__ = [
    "ConversationSource",
    "PoissonSource",
    "Scenario",
    "TraceSource",
    "Workload",
    "load",
]
