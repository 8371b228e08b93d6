"""From operator tables to a small profile.  Needs the extra ``profiles``; nothing else does."""

from headway_sim.profiles.compile.compiler import compile_profile, roofline_profile
from headway_sim.profiles.compile.source import TableSource, open_tables

__all__ = ["TableSource", "compile_profile", "open_tables", "roofline_profile"]
