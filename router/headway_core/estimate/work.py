"""Prefill work, in the two quantities whose cost differs: tokens, and token pairs in attention."""

from typing import NamedTuple


class Work(NamedTuple):
    """Adds up over requests; what it costs in seconds is the engine's matter.

    ``tokens`` go through the dense layers once each.  A new token attends to all before it:

        pairs = new * (hit + new / 2)
    """

    tokens: float
    pairs: float

    def plus(self, other: "Work") -> "Work":
        return Work(self.tokens + other.tokens, self.pairs + other.pairs)

    def minus(self, other: "Work") -> "Work":
        """Clamped at zero: sums of floats drift."""
        return Work(max(0.0, self.tokens - other.tokens), max(0.0, self.pairs - other.pairs))


NO_WORK = Work(0.0, 0.0)


def prefill_work(prompt_tokens: int, hit_tokens: int) -> Work:
    """The work of a prompt of which ``hit_tokens`` are cached; the last token never is."""
    new = max(1, prompt_tokens - hit_tokens)
    return Work(new, new * (hit_tokens + new / 2))
