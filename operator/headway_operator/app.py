"""One operator process: kopf watches in every replica, workers run in the one that leads."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from functools import partial
from random import Random

import kopf

from headway_operator import handlers
from headway_operator.discovery.feed import Feed
from headway_operator.discovery.publisher import Publisher
from headway_operator.discovery.reports import Reports
from headway_operator.discovery.server import Discovery, serving_discovery
from headway_operator.elector import Elector, Tenure
from headway_operator.errors import ClusterUnavailable, InvalidSettings
from headway_operator.kubernetes import KubernetesCluster
from headway_operator.model_pool.controller import reconcile
from headway_operator.names import PoolKey
from headway_operator.routing_policy.announcer import Announcer
from headway_operator.settings import Settings
from headway_operator.work_queue import WorkQueue
from headway_operator.workers import work

log = logging.getLogger("headway_operator")


def configure_logs(level: str) -> None:
    """JSON lines on standard error; kopf's own from warnings on."""
    kopf.configure(log_format=kopf.LogFormat.JSON)
    logging.getLogger("headway_operator").setLevel(level.upper())
    for name in ("kopf", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


async def run(settings: Settings, ready: Callable[[int], None]) -> None:
    """Until a signal ends it; the lease is given back then.  ``ready`` is told discovery's port.

    Raises: InvalidSettings: the cluster cannot be reached, or lacks the ModelPool definition.
    """
    tenure = Tenure(time.monotonic)
    cluster = KubernetesCluster(settings.kubeconfig, settings.identity, tenure.may_write)
    queue: WorkQueue[PoolKey] = WorkQueue(Random())
    reports = Reports(time.monotonic)
    announcer = Announcer(cluster, reports, time.time)
    publisher = Publisher(settings.identity, published=announcer.changed)
    discovery = Discovery(publisher, reports, reported=announcer.changed)
    try:
        await _check(cluster, settings)
        elector = Elector(
            cluster,
            settings.lease_namespace,
            settings.lease_name,
            settings.identity,
            tenure=tenure,
            clock=time.monotonic,
            now=time.time,
            rng=Random(),
        )

        async def lead() -> None:
            try:
                async with asyncio.TaskGroup() as parts:
                    parts.create_task(announcer.run(lambda: publisher.compiled))
                    await work(
                        queue,
                        partial(reconcile, cluster=cluster, now=time.time),
                        partial(cluster.keys, settings.namespace),
                        settings.resync_s,
                    )
            finally:
                await cluster.idle()  # before the lease is given back

        feed = Feed(cluster, publisher.store, settings.namespace)
        place = (settings.discovery_host, settings.discovery_port, settings.discovery_tls)
        async with serving_discovery(discovery, *place) as port, asyncio.TaskGroup() as tasks:
            parts = [feed.run(), publisher.run(), elector.run(lead)]
            running = [tasks.create_task(part) for part in parts]
            log.info("discovery.listening", extra={"port": port})
            ready(port)
            await _watch(
                settings,
                handlers.registry(
                    queue.add, publisher.store.told, in_cluster=settings.kubeconfig is None
                ),
            )
            for part in running:
                part.cancel()
    finally:
        cluster.close()


async def _check(cluster: KubernetesCluster, settings: Settings) -> None:
    try:
        await cluster.keys(settings.namespace)
    except ClusterUnavailable as error:
        raise InvalidSettings(f"ModelPools cannot be listed: {error}") from error


async def _watch(settings: Settings, registry: kopf.OperatorRegistry) -> None:
    """Returns when the process is told to stop."""
    if settings.kubeconfig is not None:
        os.environ["KUBECONFIG"] = str(settings.kubeconfig)  # where kopf's login looks
    everywhere = settings.namespace is None
    await kopf.operator(
        registry=registry,
        settings=handlers.settings(),
        clusterwide=everywhere,
        namespaces=() if settings.namespace is None else (settings.namespace,),
    )
