"""One request of a workload: when it is sent, what it consists of, how long its answer is.

A prompt is a sequence of segments.  Two requests share a prefix exactly as far as their segments
agree, so a workload states identity, and text (`text.py`) follows from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt.  The same ``key`` means the same content, cut at ``tokens``."""

    key: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadRequest:
    at_s: float
    """Arrival, seconds after the start."""
    prompt: tuple[Segment, ...]
    output_tokens: int
    session: str | None = None
    """None: the source does not say which requests belong together."""
    turn: int | None = None
    """From 1, within the session."""
    answer_key: str | None = None
    """Key of the segment that the answer is in later prompts.  None: nobody repeats it."""

    @property
    def prompt_tokens(self) -> int:
        return sum([segment.tokens for segment in self.prompt])


def cut(requests: Sequence[WorkloadRequest], duration_s: float) -> tuple[WorkloadRequest, ...]:
    """The requests that arrive before ``duration_s``."""
    return tuple(request for request in requests if request.at_s < duration_s)
