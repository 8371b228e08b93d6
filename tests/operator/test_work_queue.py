"""Keys come once, never to two workers, and later after each failure."""

import asyncio
from random import Random

import pytest

from headway_operator.errors import ClusterUnavailable, NotLeading
from headway_operator.names import PoolKey
from headway_operator.work_queue import FIRST_RETRY_S, LAST_RETRY_S, WorkQueue
from headway_operator.workers import work


@pytest.fixture
def queue() -> WorkQueue[str]:
    return WorkQueue(Random(1))


async def test_a_key_that_is_added_twice_comes_once(queue: WorkQueue[str]) -> None:
    for key in ("a", "b", "a"):
        queue.add(key)
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_that_is_worked_on_comes_again_only_after_that(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert await queue.get() == "b"
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_a_key_without_new_cause_does_not_come_again(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await queue.get()
    queue.done("a")
    assert len(queue) == 0


async def test_each_failure_waits_longer_and_a_success_forgets_them(
    queue: WorkQueue[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(queue, "add_after", lambda _, delay_s: waits.append(delay_s))
    for _ in range(30):
        queue.retry("a")
    for n, wait in enumerate(waits):
        assert wait <= LAST_RETRY_S
        assert wait >= min(FIRST_RETRY_S * 2**n, LAST_RETRY_S) / 2
    queue.forget("a")
    queue.retry("a")
    assert waits[-1] <= FIRST_RETRY_S
    queue.retry("b", 17.0)
    assert waits[-1] == 17.0


async def test_of_two_times_the_earlier_counts(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 3600)
    queue.add_after("a", 0)
    queue.add_after("a", 3600)
    async with asyncio.timeout(60):
        assert await queue.get() == "a"


async def test_a_pool_that_fails_comes_again_and_holds_up_no_other() -> None:
    queue: WorkQueue[PoolKey] = WorkQueue(Random(1))
    bad, good, crashing = (PoolKey("default", name) for name in ("bad", "good", "crashing"))
    seen: list[str] = []
    over = asyncio.Event()

    async def reconcile(key: PoolKey) -> float | None:
        seen.append(key.name)
        if key == bad and seen.count("bad") == 1:
            raise ClusterUnavailable("busy", retry_after_s=0.0)
        if key == crashing and seen.count("crashing") == 1:
            raise ZeroDivisionError
        if seen.count("bad") == 2 and seen.count("crashing") == 2:
            over.set()
        return None

    async def keys() -> list[PoolKey]:
        return [bad, good, crashing]

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        working = tasks.create_task(work(queue, reconcile, keys, resync_s=3600))
        await over.wait()
        working.cancel()
    assert seen.count("good") == 1


async def test_a_key_that_came_too_late_is_left_to_the_next_tenure() -> None:
    queue: WorkQueue[PoolKey] = WorkQueue(Random(1))
    key = PoolKey("default", "a")
    asked = asyncio.Event()

    async def reconcile(_: PoolKey) -> float | None:
        asked.set()
        raise NotLeading

    async def keys() -> list[PoolKey]:
        return [key]

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        working = tasks.create_task(work(queue, reconcile, keys, resync_s=3600))
        await asked.wait()
        await asyncio.sleep(0)
        working.cancel()
    assert len(queue) == 1
    assert await queue.get() == key
