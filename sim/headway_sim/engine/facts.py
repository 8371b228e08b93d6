"""What goes into an engine and what comes out of it: the same values for both of its drivers.

Times inside the simulator are integer nanoseconds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class FinishReason(StrEnum):
    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """A tokenized request, as an engine sees it.

    ``block_hashes`` has one chained hash per *full* block of the prompt (block size of the
    engine); equal hashes mean equal content up to there.  ``output_block_hash(i)`` gives the hash
    of block i once generated tokens have filled it; None: its output is never reused.
    """

    request_id: str
    prompt_tokens: int
    output_tokens: int
    """Tokens it will generate, >= 1."""
    block_hashes: Sequence[int] = ()
    output_block_hash: Callable[[int], int] | None = None
    finish_reason: FinishReason = FinishReason.LENGTH
    """STOP: it ends by a stop token, which the composed-ahead batch does not foresee."""
    priority: int = 0
    """Lower goes first, under the scheduling policy ``priority``."""
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The request entered the running batch for the first time, or again after preemption."""

    request_id: str
    at_ns: int
    cached_tokens: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class TokenEmitted:
    """Output token number ``index`` (from 0) left the engine."""

    request_id: str
    at_ns: int
    index: int


@dataclass(frozen=True, slots=True)
class RequestFinished:
    request_id: str
    at_ns: int
    reason: FinishReason
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Preempted:
    request_id: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class KvStored:
    """Blocks were registered in the prefix cache: a run of one request's chain, head first.

    ``first_index`` is the position of the first block in the request's sequence; published when
    the step that was scheduled ends.
    """

    request_id: str
    at_ns: int
    first_index: int
    hashes: tuple[int, ...]
    parent_hash: int | None


@dataclass(frozen=True, slots=True)
class KvRemoved:
    """Blocks were evicted, in this order.  Another block may still hold the same content: vLLM
    tells of every block that is stored or removed, so a listener has to count.
    """

    at_ns: int
    hashes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KvCleared:
    at_ns: int


EngineEvent = (
    Scheduled | TokenEmitted | RequestFinished | Preempted | KvStored | KvRemoved | KvCleared
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """Gauges and counters of an engine, as vLLM's metrics count them."""

    running: int
    waiting_capacity: int
    """Those that arrived during the running step included."""
    waiting_deferred: int
    """Passed over since their adapter found no slot."""
    kv_usage: float
    """1 - free / (num_blocks - 1): block 0 is a null block."""
    preemptions: int
    prefix_queries: int
    """Tokens looked up at first admissions; vLLM counts those of resumed requests apart."""
    prefix_hits: int
    """Tokens found."""
    steps: int
    """Ended."""
    busy_s: float
    """Length of all steps that were started."""
