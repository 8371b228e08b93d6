"""All that a baseline's rule may look at: what a router knows of its pool, kept from events.

The load is the router's own account of what it sent; the engines' metrics are the last that were
scraped, however old; caches are the production mirror of what was sent where.  Where first tokens
are not seen, a prompt counts as pending until its predicted end, as in the production core.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from headway_core.estimate.rates import TYPICAL_PREFILL_TOKENS_PER_S
from headway_core.events import (
    BlocksRemoved,
    BlocksStored,
    CacheCleared,
    Cancelled,
    Event,
    Failed,
    Finished,
    FirstToken,
    Scraped,
    Unreachable,
    UsageReported,
)
from headway_core.facts import Endpoint, EndpointId, EndpointState, EngineView, InferenceRequest
from headway_core.policy import Pool
from headway_core.prefix.mirror import Mirror
from headway_sim.ranking import Ranking

TTFT_SMOOTHING = 0.1


@dataclass(slots=True)
class Load:
    """What this router has at one endpoint."""

    requests: int = 0
    prompt_tokens: int = 0
    """Of all of them."""
    pending_requests: int = 0
    """Sent, and no first token yet as far as is known."""
    pending_tokens: int = 0
    """Predicted to be computed for those: prompt without predicted hit."""
    pending_prompt_tokens: int = 0
    """The same with the hits."""
    ttft_s: float | None = None
    """EWMA(0.1) from sending to the first token; None: none was seen."""


@dataclass(slots=True)
class InFlight:
    request: InferenceRequest
    endpoint_id: EndpointId
    miss_tokens: int
    sent_s: float
    is_pending: bool = True


class Views:
    """One pool as one router sees it.  ``sent`` and ``observe`` write, all else reads."""

    def __init__(
        self, pool: Pool, *, sees_first_tokens: bool, mirror: Mirror | None = None
    ) -> None:
        self._sees_first_tokens = sees_first_tokens
        self._mirror = Mirror() if mirror is None else mirror
        self._endpoints: dict[EndpointId, Endpoint] = {}
        self._unreachable: set[EndpointId] = set()
        self._engines: dict[EndpointId, EngineView] = {}
        self._loads: dict[EndpointId, Load] = {}
        self._in_flight: dict[str, InFlight] = {}
        self._predicted_ends: list[tuple[float, str]] = []
        self._serving: tuple[EndpointId, ...] = ()
        self._ranking = Ranking(lambda endpoint_id: self._loads[endpoint_id].requests)
        self.apply(pool)

    # -- read ----------------------------------------------------------------------------------

    @property
    def serving(self) -> tuple[EndpointId, ...]:
        """Who may get new requests, in the order of the fleet: ready and reachable ones.

        If none is reachable, all ready ones, as in the production core.
        """
        return self._serving

    def load(self, endpoint_id: EndpointId) -> Load:
        return self._loads[endpoint_id]

    def engine(self, endpoint_id: EndpointId) -> EngineView:
        """The last scrape; all unknown before the first."""
        return self._engines.get(endpoint_id, _NEVER_SCRAPED)

    def endpoint(self, endpoint_id: EndpointId) -> Endpoint:
        return self._endpoints[endpoint_id]

    def least_requests(self, other_than: EndpointId) -> EndpointId | None:
        """The serving endpoint with the fewest requests, the first of the fleet among equals."""
        return self._ranking.least(other_than)

    def prefill_s(self, endpoint_id: EndpointId, tokens: float) -> float:
        """``tokens`` at the declared rate, else at a typical one."""
        rate = self._endpoints[endpoint_id].capacity.prefill_tokens_per_s
        return tokens / (TYPICAL_PREFILL_TOKENS_PER_S if rate is None else rate)

    def hit_tokens(self, endpoint_id: EndpointId, request: InferenceRequest) -> int:
        """Predicted to be cached there; the last token never is."""
        hit = self._mirror.hit_blocks(endpoint_id, request.blocks) * request.block_tokens
        return max(0, min(hit, request.prompt_tokens - 1))

    def miss_tokens(self, endpoint_id: EndpointId, request: InferenceRequest) -> int:
        return request.prompt_tokens - self.hit_tokens(endpoint_id, request)

    def next_expiry(self) -> float | None:
        """When the next prefill is predicted to be over; None where first tokens are seen."""
        while self._predicted_ends:
            due, request_id = self._predicted_ends[0]
            sent = self._in_flight.get(request_id)
            if sent is not None and sent.is_pending:
                return due
            heapq.heappop(self._predicted_ends)
        return None

    # -- write ---------------------------------------------------------------------------------

    def apply(self, pool: Pool) -> None:
        """The fleet's word on who is there; what is in flight stays on the account."""
        endpoints = {e.endpoint_id: e for e in pool.endpoints}
        for gone in self._endpoints.keys() - endpoints.keys():
            self._mirror.remove(gone)
            self._engines.pop(gone, None)
            self._unreachable.discard(gone)
        for endpoint_id in endpoints:
            if endpoint_id not in self._endpoints:
                self._mirror.add(endpoint_id, endpoints[endpoint_id].capacity.kv_cache_tokens)
                self._loads.setdefault(endpoint_id, Load())
        self._endpoints = endpoints
        self._refresh()

    def sent(self, request: InferenceRequest, endpoint_id: EndpointId, now: float) -> None:
        miss = self.miss_tokens(endpoint_id, request)
        sent = InFlight(request, endpoint_id, miss, now)
        self._in_flight[request.request_id] = sent
        self._charge(sent)
        self._mirror.record(endpoint_id, request.blocks, request.block_tokens)
        if not self._sees_first_tokens:
            ahead = self._loads[endpoint_id].pending_tokens
            due = now + self.prefill_s(endpoint_id, ahead)
            heapq.heappush(self._predicted_ends, (due, request.request_id))

    def observe(self, event: Event, now: float) -> None:
        match event:
            case FirstToken(request_id, endpoint_id):
                self._first_token(request_id, endpoint_id, now)
            case Finished(request_id) | Failed(request_id) | Cancelled(request_id):
                if sent := self._in_flight.pop(request_id, None):
                    self._prefilled(sent)
                    load = self._loads[sent.endpoint_id]
                    load.requests -= 1
                    self._ranking.changed(sent.endpoint_id)
                    load.prompt_tokens -= sent.request.prompt_tokens
            case UsageReported():
                pass
            case _ if event.endpoint_id not in self._endpoints:
                pass
            case Scraped(endpoint_id, view):
                self._engines[endpoint_id] = view
                if view.kv_cache_tokens is not None:
                    self._mirror.resize(endpoint_id, view.kv_cache_tokens)
                self._set_reachable(endpoint_id, True)
            case Unreachable(endpoint_id):
                self._mirror.clear(endpoint_id)
                self._set_reachable(endpoint_id, False)
            case BlocksStored(endpoint_id, blocks, block_tokens):
                self._mirror.record(endpoint_id, blocks, block_tokens)
            case BlocksRemoved(endpoint_id, blocks):
                self._mirror.forget(endpoint_id, blocks)
            case CacheCleared(endpoint_id):
                self._mirror.clear(endpoint_id)

    def expire(self, now: float) -> None:
        """End the prefills that are predicted to be over, where first tokens are not seen."""
        while self._predicted_ends and self._predicted_ends[0][0] <= now:
            _, request_id = heapq.heappop(self._predicted_ends)
            if sent := self._in_flight.get(request_id):
                self._prefilled(sent)

    def _first_token(self, request_id: str, served_by: EndpointId | None, now: float) -> None:
        sent = self._in_flight.get(request_id)
        if sent is None:
            return
        load = self._loads[sent.endpoint_id]
        ttft_s = now - sent.sent_s
        before_s = ttft_s if load.ttft_s is None else load.ttft_s
        load.ttft_s = before_s + TTFT_SMOOTHING * (ttft_s - before_s)
        self._prefilled(sent)
        if served_by is not None and served_by != sent.endpoint_id and served_by in self._endpoints:
            left, taken = self._loads[sent.endpoint_id], self._loads[served_by]
            sent.endpoint_id = served_by
            for load, sign in ((left, -1), (taken, 1)):
                load.requests += sign
                load.prompt_tokens += sign * sent.request.prompt_tokens
            self._ranking.apply(self._serving)
            self._mirror.record(served_by, sent.request.blocks, sent.request.block_tokens)

    def _charge(self, sent: InFlight) -> None:
        load = self._loads[sent.endpoint_id]
        load.requests += 1
        self._ranking.changed(sent.endpoint_id)
        load.prompt_tokens += sent.request.prompt_tokens
        load.pending_requests += 1
        load.pending_tokens += sent.miss_tokens
        load.pending_prompt_tokens += sent.request.prompt_tokens

    def _prefilled(self, sent: InFlight) -> None:
        if sent.is_pending:
            sent.is_pending = False
            load = self._loads[sent.endpoint_id]
            load.pending_requests -= 1
            load.pending_tokens -= sent.miss_tokens
            load.pending_prompt_tokens -= sent.request.prompt_tokens

    def _set_reachable(self, endpoint_id: EndpointId, is_reachable: bool) -> None:
        if is_reachable is (endpoint_id in self._unreachable):
            (self._unreachable.discard if is_reachable else self._unreachable.add)(endpoint_id)
            self._refresh()

    def _refresh(self) -> None:
        ready = [i for i, e in self._endpoints.items() if e.state is EndpointState.READY]
        self._serving = tuple(i for i in ready if i not in self._unreachable) or tuple(ready)
        self._ranking.apply(self._serving)


def allowed(views: Views, request: InferenceRequest) -> Sequence[EndpointId]:
    """Who may serve this request: the serving ones, within the gateway's subset if there is one."""
    if request.allowed_endpoints is None:
        return views.serving
    return [e for e in views.serving if e in request.allowed_endpoints]


_NEVER_SCRAPED = EngineView()
