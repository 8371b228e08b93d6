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
from headway_operator.elector import Elector, Tenure
from headway_operator.errors import ClusterUnavailable, InvalidSettings
from headway_operator.kubernetes import KubernetesCluster
from headway_operator.model_pool.controller import reconcile
from headway_operator.names import PoolKey
from headway_operator.settings import Settings
from headway_operator.work_queue import WorkQueue
from headway_operator.workers import work


def configure_logs(level: str) -> None:
    """JSON lines on standard error; kopf's own from warnings on."""
    kopf.configure(log_format=kopf.LogFormat.JSON)
    logging.getLogger("headway_operator").setLevel(level.upper())
    for name in ("kopf", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


async def run(settings: Settings, ready: Callable[[], None]) -> None:
    """Until a signal ends it; the lease is given back then.

    Raises: InvalidSettings: the cluster cannot be reached, or lacks the ModelPool definition.
    """
    tenure = Tenure(time.monotonic)
    cluster = KubernetesCluster(settings.kubeconfig, settings.identity, tenure.may_write)
    queue: WorkQueue[PoolKey] = WorkQueue(Random())
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
                await work(
                    queue,
                    partial(reconcile, cluster=cluster, now=time.time),
                    partial(cluster.keys, settings.namespace),
                    settings.resync_s,
                )
            finally:
                await cluster.idle()  # before the lease is given back

        async with asyncio.TaskGroup() as tasks:
            election = tasks.create_task(elector.run(lead))
            ready()
            await _watch(settings, queue)
            election.cancel()
    finally:
        cluster.close()


async def _check(cluster: KubernetesCluster, settings: Settings) -> None:
    try:
        await cluster.keys(settings.namespace)
    except ClusterUnavailable as error:
        raise InvalidSettings(f"ModelPools cannot be listed: {error}") from error


async def _watch(settings: Settings, queue: WorkQueue[PoolKey]) -> None:
    """Returns when the process is told to stop."""
    if settings.kubeconfig is not None:
        os.environ["KUBECONFIG"] = str(settings.kubeconfig)  # where kopf's login looks
    everywhere = settings.namespace is None
    await kopf.operator(
        registry=handlers.registry(queue.add, in_cluster=settings.kubeconfig is None),
        settings=handlers.settings(),
        clusterwide=everywhere,
        namespaces=() if settings.namespace is None else (settings.namespace,),
    )
