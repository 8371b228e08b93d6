"""Single requests of independent clients: Poisson arrivals, shared heads of unequal popularity.

A prompt is the head of a group (a system prompt with its examples) and a question of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from headway_sim.errors import InvalidWorkload
from headway_sim.workloads.request import Segment, WorkloadRequest

Span = tuple[int, int]
"""Smallest and largest of a uniform draw, both included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Poisson:
    """Raises: InvalidWorkload: naming the field."""

    rate_per_s: float
    groups: int = 8
    popularity_exponent: float = 1.0
    """Group number r is used in proportion to ``1 / r ** popularity_exponent``."""
    head_tokens: Span = (512, 1536)
    question_tokens: Span = (64, 1024)
    output_tokens: Span = (16, 256)

    def __post_init__(self) -> None:
        if not 0 < self.rate_per_s < float("inf"):
            raise InvalidWorkload("rate_per_s", self.rate_per_s, "positive and finite")
        if self.groups < 1:
            raise InvalidWorkload("groups", self.groups, "at least 1")
        if self.popularity_exponent < 0:
            raise InvalidWorkload("popularity_exponent", self.popularity_exponent, "at least 0")
        for name in ("head_tokens", "question_tokens", "output_tokens"):
            smallest, largest = getattr(self, name)
            if not 1 <= smallest <= largest:
                value = (smallest, largest)
                raise InvalidWorkload(name, value, "two integers with 1 <= least <= most")


def generate(shape: Poisson, seed: int) -> Iterator[WorkloadRequest]:
    """Without end, in order of arrival."""
    heads_rng, rng = Random(f"{seed}/heads"), Random(f"{seed}/poisson")
    heads = [
        Segment(f"{seed}/head-{number}", heads_rng.randint(*shape.head_tokens))
        for number in range(shape.groups)
    ]
    popularity = [rank**-shape.popularity_exponent for rank in range(1, shape.groups + 1)]
    at_s, number = 0.0, 0
    while True:
        at_s += rng.expovariate(shape.rate_per_s)
        (head,) = rng.choices(heads, popularity)
        question = Segment(f"{seed}/question-{number}", rng.randint(*shape.question_tokens))
        yield WorkloadRequest(
            at_s=at_s,
            prompt=(head, question),
            output_tokens=rng.randint(*shape.output_tokens),
        )
        number += 1
