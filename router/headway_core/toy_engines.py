"""Engines simple enough to predict by hand, in simulated time, around a router: for tests.

An engine prefills one prompt at a time, first come, first served, at a constant rate; it finds in
its cache the blocks of what it prefilled before, evicts nothing, and decodes every request in the
same time, however many there are.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count

from headway_core.events import Finished, FirstToken, Scraped
from headway_core.facts import EndpointId, EngineView, InferenceRequest
from headway_core.outcomes import Outcome, Placed, Shed
from headway_core.router import Router


@dataclass(slots=True)
class ToyEngine:
    prefill_tokens_per_s: float = 10_000.0
    decode_s: float = 0.5
    cache: set[int] = field(default_factory=set)
    starts: list[float] = field(default_factory=list)
    """When each prompt that it was sent begins its prefill."""
    free_at: float = 0.0
    computed_tokens: int = 0

    def prefill(self, request: InferenceRequest, now: float) -> float:
        """Take a prompt; returns when its first token comes."""
        hit_blocks = 0
        while hit_blocks < len(request.blocks) and request.blocks[hit_blocks] in self.cache:
            hit_blocks += 1
        new = max(1, request.prompt_tokens - hit_blocks * request.block_tokens)
        self.cache.update(request.blocks)
        self.computed_tokens += new
        self.starts.append(max(now, self.free_at))
        self.free_at = self.starts[-1] + new / self.prefill_tokens_per_s
        return self.free_at

    def waiting(self, now: float) -> int:
        return sum(start > now for start in self.starts)


class Rehearsal:
    """A router, engines and the events between them.

    ``scrape_every_s`` None: nobody looks at the engines.  ``has_tap`` False: first tokens happen
    but the router is not told.
    """

    def __init__(
        self,
        router: Router,
        engines: Iterable[EndpointId],
        *,
        scrape_every_s: float | None = 1.0,
        has_tap: bool = True,
        prefill_tokens_per_s: float = 10_000.0,
        decode_s: float = 0.5,
    ) -> None:
        self.router = router
        self.engines = {e: ToyEngine(prefill_tokens_per_s, decode_s) for e in engines}
        self.now = 0.0
        self.outcomes: list[Outcome] = []
        self.ttft_s: dict[str, float] = {}
        self.endpoint_of: dict[str, EndpointId] = {}
        self.shed: dict[str, Shed] = {}
        self._scrape_every_s, self._has_tap = scrape_every_s, has_tap
        self._requests: dict[str, tuple[InferenceRequest, float]] = {}
        self._heap: list[tuple[float, int, Callable[[], Iterable[Outcome]]]] = []
        self._sequence = count()
        self._next_scrape = 0.0

    def at(self, when: float, action: Callable[[], Iterable[Outcome]]) -> None:
        """Do something to the router at that instant; what it settles is served."""
        heapq.heappush(self._heap, (when, next(self._sequence), action))

    def arrive(self, when: float, request: InferenceRequest) -> None:
        def place() -> Iterable[Outcome]:
            self._requests[request.request_id] = (request, when)
            return [self.router.place(request, self.now)]

        self.at(when, place)

    def run(self, until: float = float("inf")) -> None:
        """Until nothing more happens, or that instant."""
        while (due := self._due()) is not None and due <= until:
            self.now = max(self.now, due)
            if self._scrape_every_s is not None and self._next_scrape <= self.now:
                self._next_scrape = self.now + self._scrape_every_s
                self._scrape()
            elif self._heap and self._heap[0][0] <= self.now:
                self._serve(heapq.heappop(self._heap)[2]())
            else:
                self._serve(self.router.tick(self.now))

    def _due(self) -> float | None:
        """The next instant; scrapes alone do not count, they would go on for ever."""
        deadline = self.router.next_deadline()
        instants = [] if deadline is None else [deadline]
        instants += [self._heap[0][0]] if self._heap else []
        if not instants:
            return None
        return min(instants if self._scrape_every_s is None else [*instants, self._next_scrape])

    def _scrape(self) -> None:
        for endpoint_id, engine in self.engines.items():
            view = EngineView(waiting=engine.waiting(self.now))
            self._serve(self.router.observe(Scraped(endpoint_id, view), self.now))

    def _serve(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            self.outcomes.append(outcome)
            if isinstance(outcome, Shed):
                self.shed[outcome.request_id] = outcome
            elif isinstance(outcome, Placed):
                self._prefill(outcome)

    def _prefill(self, placed: Placed) -> None:
        request, arrived = self._requests[placed.request_id]
        endpoint_id = placed.legs[0].endpoint_id
        engine = self.engines[endpoint_id]
        first_token = engine.prefill(request, self.now)
        self.ttft_s[request.request_id] = first_token - arrived
        self.endpoint_of[request.request_id] = endpoint_id
        if self._has_tap:
            token = FirstToken(request.request_id, endpoint_id)
            self.at(first_token, lambda: self.router.observe(token, self.now))
        end = Finished(request.request_id)
        self.at(first_token + engine.decode_s, lambda: self.router.observe(end, self.now))
