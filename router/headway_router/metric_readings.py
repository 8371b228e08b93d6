"""State that is read when the page of metrics is rendered: no counter has to follow it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from headway_router.kv_events.outcomes import CacheKnowledge
from headway_router.metric_labels import EndpointCondition, SnapshotOrigin
from headway_router.metric_table import Kind, row_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotReadings:
    """Of what an operator has given."""

    origin: SnapshotOrigin
    age_s: float | None
    """None: there is none yet."""
    generations: Mapping[tuple[str, str], int]
    """By kind and ``namespace/name``."""
    rejected: int
    corrupt_files: int
    kept_endpoints: Mapping[str, int]
    """By pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """The state of the core and of the configuration at one instant."""

    leases_outstanding: int = 0
    held: Mapping[str, int] = field(default_factory=dict)
    """By pool, as the next three."""
    endpoints: Mapping[tuple[str, EndpointCondition], int] = field(default_factory=dict)
    stale_endpoints: Mapping[str, int] = field(default_factory=dict)
    tokens_per_byte: Mapping[str, float] = field(default_factory=dict)
    config_problems: int = 0
    certificate_problems: int | None = None
    """None: no TLS, as the next."""
    certificate_expires_s: float | None = None
    caches: Mapping[tuple[str, CacheKnowledge], int] = field(default_factory=dict)
    """By pool and by what is known of them."""
    snapshot: SnapshotReadings | None = None
    """None: the configuration is a folder."""


class ReadingsCollector(Collector):
    def __init__(self, source: Callable[[], Readings]) -> None:
        self._source = source

    def collect(self) -> Iterable[GaugeMetricFamily]:
        now = self._source()
        yield _reading("headway_leases_outstanding", [((), now.leases_outstanding)])
        yield _reading("headway_held_requests", _by_pool(now.held))
        yield _reading("headway_endpoints", now.endpoints.items())
        yield _reading("headway_endpoints_stale", _by_pool(now.stale_endpoints))
        yield _reading("headway_tokens_per_byte", _by_pool(now.tokens_per_byte))
        yield _reading("headway_caches", now.caches.items())
        yield _reading("headway_config_problems", [((), now.config_problems)])
        yield _reading("headway_certificate_problems", _if_known(now.certificate_problems))
        expires_s = _if_known(now.certificate_expires_s)
        yield _reading("headway_certificate_expiry_timestamp_seconds", expires_s)
        yield from _snapshot_readings(now.snapshot)


def _snapshot_readings(now: SnapshotReadings | None) -> Iterable[GaugeMetricFamily]:
    age_s = None if now is None else now.age_s
    sources = [((o,), int(o is now.origin)) for o in SnapshotOrigin] if now else []
    yield _reading("headway_router_snapshot_age_seconds", _if_known(age_s))
    yield _reading("headway_router_snapshot_source", sources)
    yield _reading("headway_router_snapshot_generation", now.generations.items() if now else ())
    for name, number in (
        ("headway_router_policy_rejected", None if now is None else now.rejected),
        ("headway_router_snapshot_files_corrupt", None if now is None else now.corrupt_files),
    ):
        yield _reading(name, _if_known(number))
    kept = now.kept_endpoints if now else {}
    yield _reading("headway_router_endpoints_kept", _by_pool(kept))


def _by_pool(numbers: Mapping[str, float]) -> Iterable[tuple[tuple[str], float]]:
    return (((pool,), number) for pool, number in numbers.items())


def _if_known(value: float | None) -> Iterable[tuple[tuple[()], float]]:
    return [] if value is None else [((), value)]


def _reading(name: str, series: Iterable[tuple[Sequence[str], float]]) -> GaugeMetricFamily:
    row = row_of(name, Kind.READING)
    family = GaugeMetricFamily(name, row.help, labels=tuple(row.labels))
    for labels, value in series:
        family.add_metric(labels, value)
    return family
