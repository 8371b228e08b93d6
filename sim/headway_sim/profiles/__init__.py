"""Ready-made engines: how fast a model is on an accelerator, and how much it can hold."""

from headway_sim.profiles.profile import PROFILE_NAMES, EngineProfile, profile

__all__ = ["PROFILE_NAMES", "EngineProfile", "profile"]
