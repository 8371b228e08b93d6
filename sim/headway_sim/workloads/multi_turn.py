"""Conversations: system prompts of unequal popularity, turns that repeat all that was said.

    prompt of turn k+1 = prompt of turn k + answer of turn k + what the user says next

A fixed number of users, each in one conversation after the other, so the load is steady from the
first seconds.  A user reads an answer while it is written, then thinks:

    arrival of the next turn = arrival of this one + output_tokens * read_s_per_token + Exp(think_s)

Arrivals are fixed beforehand, so that two runs get the very same requests at the same times; the
answers in the history are therefore invented here too, and not those of the engine.  The same seed
gives the same workload in every process.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
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

    users: int
    think_s: float = 4.0
    """Mean of an exponential distribution; also between two conversations."""
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
        for name in ("think_s", "read_s_per_token"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InvalidWorkload(name, getattr(self, name), "positive and finite")
        if self.popularity_exponent < 0:
            raise InvalidWorkload("popularity_exponent", self.popularity_exponent, "at least 0")
        for name in ("users", "system_prompts"):
            if getattr(self, name) < 1:
                raise InvalidWorkload(name, getattr(self, name), "at least 1")
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

    At 0 no conversation has begun; those still running at the end are cut off there.
    """
    systems = _system_prompts(shape, seed)
    requests = [
        request
        for user in range(shape.users)
        for request in takewhile(
            lambda request: request.at_s < duration_s,
            _user(shape, f"{seed}/user-{user}", systems),
        )
    ]
    return tuple(sorted(requests, key=lambda request: (request.at_s, request.session)))


def user_of(request: WorkloadRequest) -> str:
    """Who sent it: a name for each user of the workload."""
    return (request.session or "").rpartition("/")[0]


def _system_prompts(shape: MultiTurn, seed: int) -> list[Segment]:
    rng = Random(f"{seed}/systems")
    return [
        Segment(f"{seed}/system-{number}", rng.randint(*shape.system_tokens))
        for number in range(shape.system_prompts)
    ]


def _user(shape: MultiTurn, user: str, systems: Sequence[Segment]) -> Iterator[WorkloadRequest]:
    """One conversation after the other, without end."""
    rng = Random(user)
    popularity = [rank**-shape.popularity_exponent for rank in range(1, len(systems) + 1)]
    at_s = rng.uniform(0.0, shape.think_s)
    for number in count():
        (system,) = rng.choices(systems, popularity)
        at_s = yield from _session(shape, f"{user}/session-{number}", system, at_s, rng)


def _session(
    shape: MultiTurn, session: str, system: Segment, at_s: float, rng: Random
) -> Generator[WorkloadRequest, None, float]:
    """Returns when the user is ready for another conversation."""
    prompt: tuple[Segment, ...] = (system,)
    for turn in range(1, rng.randint(*shape.turns) + 1):
        said = shape.first_user_tokens if turn == 1 else shape.next_user_tokens
        prompt = (*prompt, Segment(f"{session}/said-{turn}", rng.randint(*said)))
        output_tokens = rng.randint(*shape.output_tokens)
        answer_key = f"{session}/answer-{turn}"
        yield WorkloadRequest(
            at_s=at_s,
            prompt=prompt,
            output_tokens=output_tokens,
            session=session,
            turn=turn,
            answer_key=answer_key,
        )
        prompt = (*prompt, Segment(answer_key, output_tokens))
        at_s += output_tokens * shape.read_s_per_token + rng.expovariate(1 / shape.think_s)
    return at_s
