"""The engine model in closed form: what `headway_sim.engine` gives, at a fraction of the cost."""

from headway_sim.fast_forward.engine import FastEngine

__all__ = ["FastEngine"]
