"""Ready-made engines: how fast a model is on an accelerator, and how much it can hold."""

from headway_sim.profiles.constants import Constants, read_constants
from headway_sim.profiles.profile import GIVEN, PROFILE_NAMES, EngineProfile, StepTimes, profile
from headway_sim.profiles.tables import Rung

__all__ = [
    "GIVEN",
    "PROFILE_NAMES",
    "Constants",
    "EngineProfile",
    "Rung",
    "StepTimes",
    "profile",
    "read_constants",
]
