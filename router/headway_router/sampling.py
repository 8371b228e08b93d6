"""Learns from the bodies of a few responses: what the prompt really was, what was cached of it.

A response is read where it passes anyway: by the first-token tap, whose stream is then kept open,
or by the routing stream of a gateway that sends bodies there or can be asked to.  Nothing of it is
changed, and a client that asks for no usage gets none: that is counted and no more.
"""

from collections.abc import Callable

from headway_core.events import UsageReported
from headway_core.sampling import SampleBudget
from headway_router.dispatch import Dispatcher
from headway_router.metric_labels import SampleOutcome, TokenSource
from headway_router.metrics import Metrics
from headway_router.open_requests import OpenRequest
from headway_router.openai.ratios import TokenRatios
from headway_router.openai.usage import Usage, UsageReader

TAP_IS_THERE_S = 60.0
"""For so long after a tap's last stream the gateway is taken to have one."""
ASK_GAP_S = 0.1
"""A gateway without a tap is asked for a response this often at most: its pool is not known yet,
and may have no room."""


class Sampling:
    """Grants samples within a budget per pool.  ``clock`` gives seconds that never go back."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        ratios: TokenRatios,
        metrics: Metrics,
        clock: Callable[[], float],
        streams_per_pool: int,
    ) -> None:
        self._dispatcher = dispatcher
        self._ratios = ratios
        self._metrics = metrics
        self._clock = clock
        self._is_on = streams_per_pool > 0
        self._budget = SampleBudget(streams_per_pool)
        self._ask_due = self._tap_until = float("-inf")

    def may_ask(self) -> bool:
        """Should a gateway be asked to show the headers of a response, to read the rest of it?"""
        if not self._is_on:
            return False
        now = self._clock()
        if now < self._ask_due or now < self._tap_until:
            return False
        self._ask_due = now + ASK_GAP_S
        return True

    def begin_at_tap(self, request_id: str) -> "Sample | None":
        self._tap_until = self._clock() + TAP_IS_THERE_S
        return self.begin(request_id)

    def begin(self, request_id: str) -> "Sample | None":
        """Read the response of a request, which begins now.  None: not this one."""
        if not self._is_on:
            return None
        sent = self._dispatcher.dispatched(request_id)
        now = self._clock()
        if sent is None or sent.is_sampled or not self._budget.take(sent.pool, now):
            return None
        sent.is_sampled = True
        tracked = self._dispatcher.core.tracked(request_id)
        lease = None if tracked is None else tracked.dispatched
        return Sample(self, sent, None if lease is None else lease.hit_tokens)

    def now(self) -> float:
        return self._clock()

    def tokens_came(self, pool: str, tokens: int, seconds: float) -> None:
        """So many, so long after those before them."""
        gaps = self._metrics.inter_token_s.labels(pool)
        for _ in range(tokens):
            gaps.observe(seconds / tokens)

    def ended(
        self, sent: OpenRequest, hit_tokens: int | None, outcome: SampleOutcome, usage: Usage | None
    ) -> None:
        self._budget.give_back(sent.pool)
        self._metrics.sampled.labels(sent.pool, outcome).add()
        if usage is not None:
            self._learn(sent, hit_tokens, usage)

    def _learn(self, sent: OpenRequest, hit_tokens: int | None, usage: Usage) -> None:
        request, pool = sent.request, sent.pool
        prompt, hit = self._metrics.sampled_prompt_tokens, self._metrics.sampled_hit_tokens
        if usage.prompt_tokens is not None:
            prompt.labels(pool, TokenSource.PREDICTED).add(request.prompt_tokens)
            prompt.labels(pool, TokenSource.REPORTED).add(usage.prompt_tokens)
            model = self._dispatcher.catalogue.model_of(pool)
            if request.content_bytes and model is not None:
                self._ratios.learn(model, request.content_bytes, usage.prompt_tokens)
        if usage.cached_tokens is not None and hit_tokens is not None:
            hit.labels(pool, TokenSource.PREDICTED).add(hit_tokens)
            hit.labels(pool, TokenSource.REPORTED).add(usage.cached_tokens)
        self._dispatcher.observe(
            UsageReported(
                request.request_id, usage.prompt_tokens, usage.cached_tokens, usage.output_tokens
            )
        )


class Sample:
    """One response that is read."""

    def __init__(self, sampling: Sampling, sent: OpenRequest, hit_tokens: int | None) -> None:
        self._sampling = sampling
        self._sent = sent
        self._hit_tokens = hit_tokens
        self._reader = UsageReader()
        self._last_tokens_s: float | None = None
        self._is_over = False

    def feed(self, chunk: bytes, end_of_stream: bool) -> None:
        """What is learned is told with its last event: its stream may end before its body does."""
        if self._is_over:
            return
        if tokens := self._reader.feed(chunk):
            self._time(tokens)
        if end_of_stream:
            self._reader.end()
        if end_of_stream or self._reader.is_complete:
            self._end(is_whole=True)

    def close(self) -> None:
        """There will be no more of it.  Twice is harmless."""
        if not self._is_over:
            self._end(is_whole=False)

    def _time(self, tokens: int) -> None:
        now, last = self._sampling.now(), self._last_tokens_s
        if last is not None:
            self._sampling.tokens_came(self._sent.pool, tokens, now - last)
        self._last_tokens_s = now

    def _end(self, *, is_whole: bool) -> None:
        self._is_over = True
        reader = self._reader
        usage = reader.usage
        if reader.has_error:
            outcome, usage = SampleOutcome.ERROR, None
        elif reader.is_unreadable:
            outcome, usage = SampleOutcome.UNREADABLE, None
        elif not is_whole:
            # Counts up to here are not those of the answer.
            outcome, usage = SampleOutcome.CUT, None
        else:
            outcome = SampleOutcome.NO_USAGE if usage is None else SampleOutcome.USAGE
        self._sampling.ended(self._sent, self._hit_tokens, outcome, usage)
