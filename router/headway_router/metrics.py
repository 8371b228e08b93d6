"""Counts what the router does, as the series of ``metric_table``.

What the core already knows (leases, held requests, endpoints) is read when Prometheus asks, and
costs a request nothing.
"""

from collections.abc import Callable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from headway_core.outcomes import Held, Outcome, Placed, Reason, Shed
from headway_router.counts import Count, Counts
from headway_router.durations import Durations, DurationsCollector
from headway_router.errors import RejectReason
from headway_router.metric_labels import (
    FirstTokenOutcome,
    Phase,
    ReloadOutcome,
    RequestOutcome,
    ScrapeOutcome,
)
from headway_router.metric_readings import Readings, ReadingsCollector
from headway_router.metric_table import Kind, Row, row_of
from headway_router.pool_counts import PoolCounts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The series of one router, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = self._counter("headway_requests_total")
        self._shed = self._counter("headway_shed_total")
        self._rejected = self._counter("headway_rejected_total")
        self._decisions = self._counter("headway_decisions_total")
        self.prompt_tokens = self._counter("headway_predicted_prompt_tokens_total")
        self.hit_tokens = self._counter("headway_predicted_hit_tokens_total")
        self._fallbacks = self._counter("headway_fallbacks_total")
        self._first_tokens = self._counter("headway_first_tokens_total")
        self.sampled = self._counter("headway_sampled_responses_total")
        self.sampled_prompt_tokens = self._counter("headway_sampled_prompt_tokens_total")
        self.sampled_hit_tokens = self._counter("headway_sampled_hit_tokens_total")
        self._scrapes = self._counter("headway_scrapes_total")
        self._reloads = self._counter("headway_config_reloads_total")
        self._certificate_reloads = self._counter("headway_certificate_reloads_total")
        self.spans = self._counter("headway_spans_total")
        self.log_lines = self._counter("headway_decision_log_lines_total")
        self.kv_batches = self._counter("headway_kv_batches_total")
        self.kv_stored_blocks = self._counter("headway_kv_stored_blocks_total")
        self.kv_resets = self._counter("headway_kv_resets_total")
        self._by_pool: dict[str, PoolCounts] = {}
        self._placed: dict[tuple[str, Reason], tuple[Count, ...]] = {}
        self._held_s = self._histogram("headway_held_seconds")
        self._ttft_s = self._histogram("headway_ttft_seconds")
        self.inter_token_s = self._histogram("headway_inter_token_seconds")
        self.scrape_s = self._histogram("headway_scrape_seconds")
        self.event_loop_lag_s = self._histogram("headway_event_loop_lag_seconds")
        self.streams_open = 0
        """Of external processing; whoever opens and closes them counts."""
        self._gauge("headway_streams_open").set_function(lambda: self.streams_open)
        self.phase_s: Mapping[Phase, Durations] = self._durations_by_phase("headway_phase_seconds")
        """Bound once, as each request observes all of them: ``phase_s[Phase.HASH].observe(t)``."""
        self.read_from(Readings)

    def read_from(self, source: Callable[[], Readings]) -> None:
        """Take the readings from here on from ``source``, called once for each page."""
        if old := getattr(self, "_readings", None):
            self.registry.unregister(old)
        self._readings = ReadingsCollector(source)
        self.registry.register(self._readings)

    def page(self) -> bytes:
        """The page in Prometheus' text format, as ``CONTENT_TYPE`` says."""
        return generate_latest(self.registry)

    def requests(self) -> Mapping[str, Mapping[str, int]]:
        """Requests settled so far: pool -> outcome -> number."""
        counts: dict[str, dict[str, int]] = {}
        for (pool, outcome), number in self._requests.series():
            counts.setdefault(pool, {})[str(outcome)] = number
        return counts

    def outcome(self, outcome: Outcome, *, prompt_tokens: int, held_s: float | None = None) -> None:
        """Count what the core answered.  A ``Held`` counts when it is settled.

        ``held_s`` is the time it was held; None: it never was.
        """
        match outcome:
            case Placed(decision=decision):
                pool = decision.pool
                placed = self._placed.get((pool, decision.reason))
                if placed is None:
                    placed = self._bind_placed(pool, decision.reason)
                requests, decisions, predicted_prompt_tokens, predicted_hit_tokens = placed
                requests.add()
                decisions.add()
                predicted_prompt_tokens.add(prompt_tokens)
                predicted_hit_tokens.add(decision.chosen.hit_tokens)
            case Shed(reason=reason, decision=shed_decision):
                pool = shed_decision.pool if shed_decision else ""
                self._requests.labels(pool, RequestOutcome.SHED).add()
                self._shed.labels(pool, reason).add()
            case Held():
                return
        if held_s is not None:
            self._held_s.labels(pool).observe(held_s)

    def rejected(self, reason: RejectReason) -> None:
        """The edge refused bad input."""
        self._requests.labels("", RequestOutcome.REJECTED).add()
        self._rejected.labels(reason).add()

    def cancelled(self, pool: str = "") -> None:
        """The client left before there was an answer."""
        self._requests.labels(pool, RequestOutcome.CANCELLED).add()

    def answered(self) -> None:
        """The router answered by itself, without an engine."""
        self._requests.labels("", RequestOutcome.ANSWERED).add()

    def first_token(
        self,
        outcome: FirstTokenOutcome,
        *,
        pool: str = "",
        ttft_s: float | None = None,
        target_s: float | None = None,
    ) -> None:
        """The tap reported a first token, ``ttft_s`` after its request had arrived; None for
        ``target_s``: it has no SLO."""
        self._first_tokens.labels(outcome).add()
        if ttft_s is not None:
            self._ttft_s.labels(pool).observe(ttft_s)
            counts = self._pool_counts(pool)
            counts.ttft.observe(ttft_s)
            if target_s is not None:
                counts.with_slo += 1
                counts.met_slo += ttft_s <= target_s

    def traffic(self, pool: str) -> PoolCounts:
        """What reports say of a pool."""
        counts = self._pool_counts(pool)
        counts.requests = self._requests.labels(pool, RequestOutcome.PLACED).value
        counts.prompt_tokens = self.prompt_tokens.labels(pool).value
        counts.hit_tokens = self.hit_tokens.labels(pool).value
        return counts

    def _pool_counts(self, pool: str) -> PoolCounts:
        counts = self._by_pool.get(pool)
        if counts is None:
            bounds = row_of("headway_ttft_seconds", Kind.HISTOGRAM).buckets
            counts = self._by_pool[pool] = PoolCounts(Durations(bounds))
        return counts

    def fallback(self, pool: str) -> None:
        """The gateway used the second endpoint, and the charge has moved there."""
        self._fallbacks.labels(pool).add()

    def scraped(self, outcome: ScrapeOutcome) -> None:
        self._scrapes.labels(outcome).add()

    def reloaded(self, outcome: ReloadOutcome) -> None:
        self._reloads.labels(outcome).add()

    def certificate_reloaded(self, outcome: ReloadOutcome) -> None:
        self._certificate_reloads.labels(outcome).add()

    def _bind_placed(self, pool: str, reason: Reason) -> tuple[Count, ...]:
        """Looking four series up by their labels costs as much as the rest of the counting."""
        placed = self._placed[pool, reason] = (
            self._requests.labels(pool, RequestOutcome.PLACED),
            self._decisions.labels(pool, reason),
            self.prompt_tokens.labels(pool),
            self.hit_tokens.labels(pool),
        )
        return placed

    def _durations_by_phase(self, name: str) -> dict[Phase, Durations]:
        row = row_of(name, Kind.HISTOGRAM)
        series = {phase: Durations(row.buckets) for phase in Phase}
        by_value = {phase.value: durations for phase, durations in series.items()}
        [label] = row.labels
        self.registry.register(DurationsCollector(name, row.help, label, by_value))
        return series

    def _counter(self, name: str) -> Counts:
        row = row_of(name, Kind.COUNTER)
        counts = Counts(name, row.help, tuple(row.labels))
        _start_at_zero(counts, row)
        self.registry.register(counts)
        return counts

    def _gauge(self, name: str) -> Gauge:
        return Gauge(name, row_of(name, Kind.GAUGE).help, registry=self.registry)

    def _histogram(self, name: str) -> Histogram:
        row = row_of(name, Kind.HISTOGRAM)
        return Histogram(
            name, row.help, tuple(row.labels), buckets=row.buckets, registry=self.registry
        )


def _start_at_zero(counts: Counts, row: Row) -> None:
    """A series that appears with its first event has no rate: start those we can name at 0."""
    if len(row.labels) == 1 and not isinstance(values := next(iter(row.labels.values())), str):
        for value in values:
            counts.labels(value)
