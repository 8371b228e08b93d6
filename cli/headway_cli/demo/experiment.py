"""What is replayed, on which engines, against which target.

The built-in conversations: 95 users send about 25 requests per second of some 4,000 tokens, in all
101,000 prompt tokens per second, 70 % of the 143,000 that two H100 and two A100 can prefill if
nothing is cached.  Their caches are 200,000 tokens each, less than half of what such an accelerator
holds beside this model, because then half a minute fills them as hours do in production: the
600,000 different tokens of 30 s fit into all four caches together, but not into one.

A trace is replayed from its start, four times faster than recorded, on two B200 and two H200 with
their whole caches: Mooncake's conversations then bring 164,000 prompt tokens per second, half of
what these engines can prefill.  In its first minute next to nothing comes back; at this pace four
minutes of it are seen.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from headway_cli.demo.errors import InvalidOptions
from headway_cli.demo.fleet import FleetSpec, two_of_each
from headway_cli.demo.settings import Settings
from headway_core.facts import Slo
from headway_sim.errors import InvalidTrace
from headway_sim.workloads import mooncake
from headway_sim.workloads.multi_turn import MultiTurn, generate
from headway_sim.workloads.request import WorkloadRequest, cut

CONVERSATIONS = MultiTurn(
    users=95,
    think_s=3.0,
    system_prompts=8,
    system_tokens=(256, 768),
    first_user_tokens=(1024, 3072),
    next_user_tokens=(128, 768),
    output_tokens=(16, 80),
    turns=(4, 12),
)
CONVERSATIONS_FLEET = FleetSpec(
    engines=two_of_each("h100-80gb", "a100-80gb"),
    max_model_len=32_768,
    kv_cache_tokens=200_000,
    slo=Slo(ttft_s=0.5),
)
CONVERSATIONS_DILATION = 2.0
"""At least: first tokens come after some 40 ms, of which this machine's own HTTP is a few."""

TRACE_SPEED = 4.0
TRACE_FLEET = FleetSpec(
    engines=two_of_each("b200-180gb", "h200-141gb"),
    max_model_len=131_072,
    kv_cache_tokens=None,
    slo=Slo(ttft_s=1.0, ttft_s_per_1k_tokens=0.1),
)
"""Prompts of a trace differ a hundredfold in length, so their target grows with it: an idle H200
takes 0.02 s per 1,000 tokens."""
TRACE_DILATION = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFacts:
    requests: int
    """In the whole file."""
    speed: float
    """Times faster than recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    name: str
    requests: tuple[WorkloadRequest, ...]
    duration_s: float
    """Engine seconds in which requests are sent."""
    fleet: FleetSpec
    trace: TraceFacts | None
    """None: not from a trace."""


class Source:
    """Where the requests of every attempt come from; a trace is read once."""

    def __init__(self, settings: Settings) -> None:
        """Raises: InvalidOptions."""
        self._seed = settings.seed
        self._trace = None if settings.trace is None else _load(settings.trace, settings.seed)
        self._name = "multi-turn" if settings.trace is None else settings.trace.name
        self.minimum_dilation = CONVERSATIONS_DILATION if settings.trace is None else TRACE_DILATION

    def experiment(self, duration_s: float) -> Experiment:
        """The first ``duration_s`` engine seconds.

        Raises:
            InvalidOptions: no request arrives in them.
        """
        if self._trace is None:
            requests, facts = generate(CONVERSATIONS, self._seed, duration_s), None
        else:
            requests = cut(self._trace, duration_s)
            facts = TraceFacts(requests=len(self._trace), speed=TRACE_SPEED)
        if not requests:
            raise InvalidOptions(f"--minutes: no request arrives in {duration_s:g} s")
        return Experiment(
            name=self._name,
            requests=requests,
            duration_s=duration_s,
            fleet=CONVERSATIONS_FLEET if facts is None else TRACE_FLEET,
            trace=facts,
        )


def _load(path: Path, seed: int) -> tuple[WorkloadRequest, ...]:
    """Arrivals are spread inside the ticks to which the trace rounds them, then sped up.

    Raises:
        InvalidOptions: the file does not fit, or a request does not fit into the engines.
    """
    try:
        requests = mooncake.load(path)
    except InvalidTrace as error:
        raise InvalidOptions(f"--trace: {error}") from error
    for number, request in enumerate(requests, start=1):
        tokens = request.prompt_tokens + request.output_tokens
        if tokens > TRACE_FLEET.max_model_len:
            raise InvalidOptions(
                f"--trace: {path}, line {number}: {tokens} tokens, but the engines take at most"
                f" {TRACE_FLEET.max_model_len}"
            )
    return tuple(
        replace(request, at_s=request.at_s / TRACE_SPEED)
        for request in mooncake.spread(requests, seed)
    )
