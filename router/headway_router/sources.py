"""Where the fleet comes from, as the settings say: a folder, or an operator."""

from collections.abc import Callable, Mapping
from random import Random

from headway_core.facts import EndpointId
from headway_core.policy import Fleet
from headway_proto.v1alpha1.discovery_pb2 import ReportRequest
from headway_router.discovery.channels import Channels
from headway_router.discovery.source import DiscoverySource
from headway_router.discovery.traffic import fill_in
from headway_router.dispatch import Dispatcher
from headway_router.endpoints.scrape import Scraper
from headway_router.metrics import Metrics
from headway_router.policy_source import FolderSource
from headway_router.settings import Settings


def source_for(
    settings: Settings,
    *,
    on_fleet: Callable[[Fleet], None],
    on_cold_fleet: Callable[[Fleet], None],
    dispatcher: Dispatcher,
    scraper: Scraper,
    metrics: Metrics,
    rng: Random,
) -> FolderSource | DiscoverySource:
    """``on_cold_fleet`` gets a fleet from disk, whose endpoints may be gone."""
    if settings.operator is None:
        assert settings.config is not None, "one of the two is given"
        return FolderSource(settings.config, on_fleet=on_fleet, metrics=metrics)

    def traffic(
        request: ReportRequest, pools: Mapping[str, str], uids: Mapping[EndpointId, str]
    ) -> None:
        fill_in(
            request,
            dispatcher.core,
            metrics,
            pools=pools,
            endpoint_uids=uids,
            now=dispatcher.now(),
        )

    return DiscoverySource(
        Channels(settings.operator, settings.operator_tls_dir),
        settings.state_dir,
        on_fleet=on_fleet,
        on_cold_fleet=on_cold_fleet,
        answers=scraper.answers,
        traffic=traffic,
        rng=rng,
    )
