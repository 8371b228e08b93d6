"""Named random substreams: one more draw in one subsystem changes nothing in any other.

The same seed and name give the same stream in every process: Python seeds ``Random`` with a string
by its SHA-512, never by the salted ``hash``.
"""

from random import Random


class Substreams:
    """The randomness of one run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def stream(self, *name: object) -> Random:
        """A fresh stream at its beginning; ``name`` is what it is for."""
        return Random("/".join(map(str, (self.seed, *name))))
