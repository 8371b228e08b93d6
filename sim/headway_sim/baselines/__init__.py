"""Other systems' routing rules over the same views as the production core's, by name."""

from headway_sim.baselines.registry import BASELINES, Baseline, baseline

__all__ = ["BASELINES", "Baseline", "baseline"]
