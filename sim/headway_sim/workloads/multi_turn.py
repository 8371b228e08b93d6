"""Conversations: system prompts of unequal popularity, turns that repeat all that was said.

    prompt of turn k+1 = prompt of turn k + answer of turn k + what the user says next

Sessions start as a Poisson process.  The user reads an answer while it is written, then thinks:

    arrival of turn k+1 = arrival of turn k + output_tokens * read_s_per_token + Exp(think_s)

Arrivals are fixed beforehand, so that two runs get the very same requests at the same times; the
answers in the history are therefore invented here too, and not those of the engine.  The same seed
gives the same workload in every process.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from headway_sim.errors import InvalidWorkload
from headway_sim.workloads.request import Segment, WorkloadRequest

Span = tuple[int, int]
"""Smallest and largest of a uniform draw, both included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiTurn:
    """The shape of the conversations; the defaults resemble an assistant over documents.

    Raises:
        InvalidWorkload: naming the field.
    """

    sessions_per_s: float
    think_s: float = 4.0
    """Mean of an exponential distribution."""
    read_s_per_token: float = 0.02
    system_prompts: int = 8
    popularity_exponent: float = 1.0
    """System prompt number r is used in proportion to ``1 / r ** popularity_exponent``."""
    system_tokens: Span = (512, 1536)
    first_user_tokens: Span = (1024, 4096)
    """A question with its document."""
    next_user_tokens: Span = (64, 512)
    output_tokens: Span = (16, 96)
    turns: Span = (3, 8)

    def __post_init__(self) -> None:
        for name in ("sessions_per_s", "think_s", "read_s_per_token"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InvalidWorkload(name, getattr(self, name), "positive and finite")
        if self.popularity_exponent < 0:
            raise InvalidWorkload("popularity_exponent", self.popularity_exponent, "at least 0")
        if self.system_prompts < 1:
            raise InvalidWorkload("system_prompts", self.system_prompts, "at least 1")
        for name in (
            "system_tokens",
            "first_user_tokens",
            "next_user_tokens",
            "output_tokens",
            "turns",
        ):
            least, most = getattr(self, name)
            if not 1 <= least <= most:
                raise InvalidWorkload(name, (least, most), "two integers with 1 <= least <= most")


def generate(shape: MultiTurn, seed: int, duration_s: float) -> tuple[WorkloadRequest, ...]:
    """The requests that arrive within ``duration_s``, in order of arrival.

    Sessions still running at the end are cut off there; none has started before 0.
    """
    systems = _system_prompts(shape, seed)
    popularity = [rank**-shape.popularity_exponent for rank in range(1, len(systems) + 1)]
    cumulated = list(accumulate(popularity))
    arrivals = Random(f"{seed}/sessions")
    requests: list[WorkloadRequest] = []
    starts_s = arrivals.expovariate(shape.sessions_per_s)
    number = 0
    while starts_s < duration_s:
        session = f"{seed}/session-{number}"
        rng = Random(session)
        (system,) = rng.choices(systems, cum_weights=cumulated)
        for request in _session(shape, session, system, starts_s, rng):
            if request.at_s >= duration_s:
                break
            requests.append(request)
        number += 1
        starts_s += arrivals.expovariate(shape.sessions_per_s)
    return tuple(sorted(requests, key=lambda request: (request.at_s, request.session)))


def _system_prompts(shape: MultiTurn, seed: int) -> list[Segment]:
    rng = Random(f"{seed}/systems")
    return [
        Segment(f"{seed}/system-{number}", rng.randint(*shape.system_tokens))
        for number in range(shape.system_prompts)
    ]


def _session(
    shape: MultiTurn, session: str, system: Segment, starts_s: float, rng: Random
) -> Iterator[WorkloadRequest]:
    at_s = starts_s
    prompt: tuple[Segment, ...] = (system,)
    for turn in range(1, rng.randint(*shape.turns) + 1):
        said = shape.first_user_tokens if turn == 1 else shape.next_user_tokens
        prompt = (*prompt, Segment(f"{session}/user-{turn}", rng.randint(*said)))
        output_tokens = rng.randint(*shape.output_tokens)
        yield WorkloadRequest(
            at_s=at_s, prompt=prompt, output_tokens=output_tokens, session=session, turn=turn
        )
        prompt = (*prompt, Segment(f"{session}/answer-{turn}", output_tokens))
        at_s += output_tokens * shape.read_s_per_token + rng.expovariate(1 / shape.think_s)
