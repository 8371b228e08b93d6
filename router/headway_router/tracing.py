"""Spans of requests by OpenTelemetry: which requests have one, and what it says (`docs/traces.md`).

A client's W3C trace context passes to the engine untouched, unless the request has a span here:
then that one is the engine's parent.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from time import time_ns

from headway_core.events import Cancelled, Event, Failed, Finished, FirstToken
from headway_core.outcomes import Decision, Held, Outcome, Placed, Shed
from headway_core.policy import Observability
from headway_core.router import Router

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
"""Of W3C Trace Context, level 1; later versions may have more at their end."""
_NO_POOLS_SHARE = Observability().trace_share


@dataclass(slots=True, kw_only=True)
class Span:
    """What becomes of one request, from its decision to its end.  Times are Unix nanoseconds."""

    trace_id: str
    span_id: str
    parent_id: str | None
    start_ns: int
    end_ns: int = 0
    attributes: dict[str, str | int | float] = field(default_factory=dict)
    events: list[tuple[int, str]] = field(default_factory=list)
    error: str | None = None

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-01"


class Tracer:
    """Follows sampled requests; spans that end go to ``export``.

    The choice is the client's, where it sends a context; else a share of each pool's requests, as
    its policy says.
    """

    def __init__(self, core: Router, rng: Random, export: Callable[[Span], None]) -> None:
        self._core = core
        self._rng = rng
        self._export = export
        self._open: dict[str, Span] = {}
        self._fleet = core.fleet
        self._shares: Mapping[str, float] = {}

    def begin(self, outcome: Outcome, parent: str | None, start_ns: int) -> None:
        """With the first outcome of a request; ``parent`` is its ``traceparent``, if any."""
        context = _TRACEPARENT.fullmatch(parent) if parent else None
        if context is not None:
            if not int(context[3], 16) & 1:
                return
            trace_id, parent_id = context[1], context[2]
        elif self._rng.random() < self._share(outcome):
            trace_id, parent_id = f"{self._rng.getrandbits(128) or 1:032x}", None
        else:
            return
        self._open[outcome.request_id] = span = Span(
            trace_id=trace_id,
            span_id=f"{self._rng.getrandbits(64) or 1:016x}",
            parent_id=parent_id,
            start_ns=start_ns,
        )
        span.attributes["headway.request_id"] = outcome.request_id

    def decided(self, outcome: Outcome) -> str | None:
        """Returns: the ``traceparent`` for the engine; None: the client's own passes."""
        span = self._open.get(outcome.request_id)
        if span is None:
            return None
        if outcome.decision is not None:
            span.attributes |= _described(outcome.decision)
        match outcome:
            case Held():
                span.events.append((time_ns(), "held"))
            case Placed():
                span.events.append((time_ns(), "placed"))
                return span.traceparent
            case Shed(reason=reason):
                self._end(outcome.request_id, f"shed: {reason}")
        return None

    def observe(self, event: Event) -> None:
        match event:
            case FirstToken():
                if span := self._open.get(event.request_id):
                    span.events.append((time_ns(), "first token"))
            case Finished():
                self._end(event.request_id)
            case Failed():
                self._end(event.request_id, "the engine gave no answer")
            case Cancelled():
                self._end(event.request_id, "the client left")

    def _end(self, request_id: str, error: str | None = None) -> None:
        if span := self._open.pop(request_id, None):
            span.end_ns = time_ns()
            span.error = error
            self._export(span)

    def _share(self, outcome: Outcome) -> float:
        if self._fleet is not self._core.fleet or not self._shares:
            self._fleet = self._core.fleet
            pools = self._fleet.pools
            self._shares = {p.name: p.policy.observability.trace_share for p in pools}
        pool = outcome.decision.pool if outcome.decision else ""
        return self._shares.get(pool, _NO_POOLS_SHARE)


def _described(decision: Decision) -> dict[str, str | int | float]:
    chosen = decision.chosen
    return {
        "headway.pool": decision.pool,
        "headway.endpoint": decision.endpoint_id,
        "headway.reason": str(decision.reason),
        "headway.policy_hash": decision.policy_hash,
        "headway.candidates": len(decision.candidates),
        "headway.predicted_ttft_s": chosen.ttft_s,
        "headway.predicted_hit_tokens": chosen.hit_tokens,
    }
