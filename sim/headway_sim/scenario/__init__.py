"""A run as one frozen value, read from a file or built in code."""

from headway_sim.scenario.file import load
from headway_sim.scenario.scenario import Scenario
from headway_sim.scenario.sources import (
    AzureSource,
    ConversationSource,
    PoissonSource,
    ServeGenSource,
    TraceSource,
)
from headway_sim.scenario.workload import Workload

__all__ = [
    "AzureSource",
    "ConversationSource",
    "PoissonSource",
    "Scenario",
    "ServeGenSource",
    "TraceSource",
    "Workload",
    "load",
]
