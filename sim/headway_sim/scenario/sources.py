"""Where a scenario's requests come from."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from pathlib import Path

from headway_sim.errors import InvalidScenario
from headway_sim.workloads import azure, mooncake, multi_turn, poisson, servegen
from headway_sim.workloads.request import WorkloadRequest


class Arrivals(StrEnum):
    """What becomes of the ticks that a trace rounds its times to."""

    RECORDED = "Recorded"
    SPREAD = "Spread"
    """Uniformly within the tick, by the seed."""
    EVEN = "Even"
    """At equal distances until the next recorded time, whatever the seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSource:
    """A recorded trace in Mooncake's format."""

    file: Path
    arrivals: Arrivals = Arrivals.SPREAD
    below_tokens: int | None = None
    """Leaves out prompts of so many tokens or more.  None: leaves out nothing."""
    skip: int = 0
    """So many of the first are left out, of those that are below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationSource:
    """Generated conversations of a fixed number of users."""

    shape: multi_turn.MultiTurn
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PoissonSource:
    """Generated single requests; ``requests`` of the workload says how many."""

    shape: poisson.Poisson


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureSource:
    """A recorded Azure LLM inference trace: lengths and times, nothing is shared."""

    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeGenSource:
    """Generated from ServeGen's client profiles."""

    path: Path
    """A folder, or a tar of it."""
    duration_s: float
    start_s: float = 0.0
    """Of the profiles' day."""


Source = TraceSource | AzureSource | ServeGenSource | ConversationSource | PoissonSource


def files_of(source: Source) -> tuple[Path, ...]:
    """All that is read for it."""
    match source:
        case TraceSource() | AzureSource():
            return (source.file,)
        case ServeGenSource(path=path):
            return tuple(sorted(path.iterdir())) if path.is_dir() else (path,)
        case _:
            return ()


def all_of(source: Source, seed: int) -> Iterator[WorkloadRequest]:
    """In order of arrival.  Raises: InvalidTrace, InvalidScenario."""
    match source:
        case TraceSource():
            yield from _of_trace(source, seed)
        case AzureSource():
            yield from azure.load(source.file)
        case ServeGenSource():
            clients = servegen.load(source.path)
            yield from servegen.generate(clients, seed, source.duration_s, source.start_s)
        case ConversationSource():
            yield from multi_turn.generate(source.shape, seed, source.duration_s)
        case PoissonSource():
            yield from poisson.generate(source.shape, seed)


def _of_trace(source: TraceSource, seed: int) -> Iterator[WorkloadRequest]:
    file = source.file
    stamp_ns = file.stat().st_mtime_ns if file.is_file() else 0
    recorded = _sent(file, stamp_ns, source.below_tokens)
    match source.arrivals:
        case Arrivals.SPREAD:
            recorded = mooncake.spread(recorded, seed)
        case Arrivals.EVEN:
            recorded = mooncake.spaced(recorded)
    return islice(recorded, source.skip, None)


@lru_cache(maxsize=1)
def _sent(file: Path, stamp_ns: int, below_tokens: int | None) -> tuple[WorkloadRequest, ...]:
    """Kept for the next run: many runs in one process are of one trace."""
    recorded = mooncake.load(file)
    if below_tokens is None:
        return recorded
    sent = tuple(r for r in recorded if r.prompt_tokens < below_tokens)
    if not sent:
        raise InvalidScenario(f"every prompt has {below_tokens} tokens or more")
    return sent
