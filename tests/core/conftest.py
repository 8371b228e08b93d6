"""How the properties of the core are explored."""

from hypothesis import settings

# Reproducible runs, and no assertion about wall time on a machine that others share.
settings.register_profile("core", deadline=None, derandomize=True)
settings.load_profile("core")
