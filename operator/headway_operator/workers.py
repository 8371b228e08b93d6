"""The leader's work: keys from the queue, one reconciliation each, every pool again from time to
time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from headway_operator.errors import ClusterUnavailable, NotLeading
from headway_operator.names import PoolKey
from headway_operator.work_queue import WorkQueue

log = logging.getLogger("headway_operator")

WORKERS = 8

Reconcile = Callable[[PoolKey], Awaitable[float | None]]
ListKeys = Callable[[], Awaitable[list[PoolKey]]]


async def work(
    queue: WorkQueue[PoolKey], reconcile: Reconcile, keys: ListKeys, resync_s: float
) -> None:
    """Until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_resync(queue, keys, resync_s))
        for _ in range(WORKERS):
            tasks.create_task(_worker(queue, reconcile))


async def _resync(queue: WorkQueue[PoolKey], keys: ListKeys, resync_s: float) -> None:
    """What was missed, for whatever reason, is found now."""
    while True:
        try:
            found = await keys()
        except ClusterUnavailable as error:
            log.warning("operator.not_resynced", extra={"why": str(error)})
        else:
            for key in found:
                queue.add(key)
            log.info("operator.resynced", extra={"pools": len(found)})
        await asyncio.sleep(resync_s)


async def _worker(queue: WorkQueue[PoolKey], reconcile: Reconcile) -> None:
    while True:
        key = await queue.get()
        try:
            await _once(queue, reconcile, key)
        finally:
            queue.done(key)


async def _once(queue: WorkQueue[PoolKey], reconcile: Reconcile, key: PoolKey) -> None:
    try:
        requeue_s = await reconcile(key)
    except ClusterUnavailable as error:
        log.warning("pool.not_reconciled", extra={"pool": str(key), "why": str(error)})
        queue.retry(key, error.retry_after_s)
    except NotLeading:
        queue.add(key)  # for the next tenure; this one is about to end
        await asyncio.sleep(1.0)
    except Exception:  # one pool must not stop the others
        log.exception("pool.crashed", extra={"pool": str(key)})
        queue.retry(key)
    else:
        queue.forget(key)
        log.debug("pool.reconciled", extra={"pool": str(key)})
        if requeue_s is not None:
            queue.add_after(key, requeue_s)
