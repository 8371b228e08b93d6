"""DualMap (arXiv 2602.06502, ICLR 2026) after its released scheduler, and its ablations."""

from headway_sim.baselines.dualmap.picker import DualMap, Primary

__all__ = ["DualMap", "Primary"]
