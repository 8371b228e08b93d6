"""The router follows a folder: good changes are applied, bad ones change nothing."""

import asyncio
import json
import logging
import threading
from pathlib import Path

import pytest

from headway_api import InvalidDocuments
from headway_core.policy import Fleet
from headway_router import policy_source
from headway_router.config_folder import Contents, scan
from headway_router.logs import JsonLines
from headway_router.metric_labels import ReloadOutcome
from headway_router.metrics import Metrics
from headway_router.policy_source import FolderSource

POOL = """\
apiVersion: headway.dev/v1alpha1
kind: ModelPool
metadata: {name: demo}
spec:
  model: {name: tiny}
  groups:
    - name: local
      workload: Static
      endpoints:
        - {name: a, address: 127.0.0.1, port: 8001}
"""
MORE = POOL + "        - {name: b, address: 127.0.0.1, port: 8002}\n"
BAD = POOL.replace("port: 8001", "port: 80010")


class Following:
    """A folder with a good pool, and all fleets that its source has handed out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write(POOL)
        self.fleets: list[Fleet] = []
        self.arrived = asyncio.Event()
        self.metrics = Metrics()
        self.source = FolderSource(
            folder,
            on_fleet=self._take,
            metrics=self.metrics,
            poll_s=0.01,
            settle_s=0.0,
        )

    def _take(self, fleet: Fleet) -> None:
        self.fleets.append(fleet)
        self.arrived.set()

    def write(self, text: str, name: str = "pool.yaml") -> None:
        (self.folder / name).write_text(text)

    @property
    def endpoints(self) -> list[str]:
        """Of the fleet in force."""
        return [e.endpoint_id for pool in self.fleets[-1].pools for e in pool.endpoints]

    def count(self, outcome: ReloadOutcome) -> float:
        labels: dict[str, str] = {"outcome": outcome}
        return self.metrics.registry.get_sample_value("headway_config_reloads_total", labels) or 0


@pytest.fixture
def following(tmp_path: Path) -> Following:
    return Following(tmp_path)


def test_the_first_fleet_is_there_before_anything_is_served(following: Following) -> None:
    fleet = following.source.load()
    assert following.fleets == [fleet]
    assert following.endpoints == ["127.0.0.1:8001"]
    assert following.count(ReloadOutcome.APPLIED) == 1


def test_without_a_last_good_configuration_a_bad_one_is_an_error(following: Following) -> None:
    following.write(BAD)
    with pytest.raises(InvalidDocuments) as caught:
        following.source.load()
    assert str(caught.value) == (
        f"{following.folder}/pool.yaml:10: spec.groups[0].endpoints[0].port: 80010 is too large;"
        " allowed: an integer from 1 to 65535"
    )
    assert following.fleets == []


async def test_a_good_change_is_applied_while_it_runs(following: Following) -> None:
    following.source.load()
    following.arrived.clear()
    following.write(MORE)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(following.source.run())
        await following.arrived.wait()
        running.cancel()
    assert following.endpoints == ["127.0.0.1:8001", "127.0.0.1:8002"]


async def test_what_has_not_changed_is_not_applied_again(following: Following) -> None:
    following.source.load()
    assert await following.source.poll() is ReloadOutcome.UNCHANGED
    following.write(f"# the same in other words\n{POOL}")
    assert await following.source.poll() is ReloadOutcome.UNCHANGED
    assert len(following.fleets) == 1
    assert following.count(ReloadOutcome.UNCHANGED) == 2


async def test_a_bad_change_leaves_the_last_good_configuration_in_force(
    following: Following,
) -> None:
    following.source.load()
    following.write(BAD)
    assert await following.source.poll() is ReloadOutcome.REJECTED
    assert following.endpoints == ["127.0.0.1:8001"]
    [problem] = following.source.problems
    assert (problem.line, problem.field) == (10, "spec.groups[0].endpoints[0].port")
    assert following.count(ReloadOutcome.REJECTED) == 1


async def test_a_bad_change_is_counted_once_however_long_it_stays(following: Following) -> None:
    following.source.load()
    following.write(BAD)
    for _ in range(3):
        await following.source.poll()
    assert following.count(ReloadOutcome.REJECTED) == 1
    assert len(following.source.problems) == 1


@pytest.mark.parametrize("text", [MORE, POOL], ids=["a repaired change", "the change taken back"])
async def test_a_good_change_ends_the_problems(text: str, following: Following) -> None:
    following.source.load()
    following.write(BAD)
    await following.source.poll()
    following.write(text)
    await following.source.poll()
    assert following.source.problems == ()
    assert len(following.fleets) == (2 if text == MORE else 1)


@pytest.mark.parametrize("leave", ["nothing", "no folder"])
async def test_a_folder_that_is_emptied_does_not_empty_the_fleet(
    leave: str, following: Following
) -> None:
    following.source.load()
    (following.folder / "pool.yaml").unlink()
    if leave == "no folder":
        following.folder.rmdir()
    assert await following.source.poll() is ReloadOutcome.REJECTED
    assert following.endpoints == ["127.0.0.1:8001"]


async def test_the_swapped_links_of_a_config_map_are_one_change(following: Following) -> None:
    (following.folder / "pool.yaml").unlink()
    for version, text in (("..1", POOL), ("..2", MORE)):
        (following.folder / version).mkdir()
        (following.folder / version / "pool.yaml").write_text(text)
    (following.folder / "..data").symlink_to("..1")
    (following.folder / "pool.yaml").symlink_to("..data/pool.yaml")
    following.source.load()
    (following.folder / "..next").symlink_to("..2")
    (following.folder / "..next").rename(following.folder / "..data")
    assert await following.source.poll() is ReloadOutcome.APPLIED
    assert following.endpoints == ["127.0.0.1:8001", "127.0.0.1:8002"]


async def test_a_file_that_is_being_written_waits_for_its_end(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    following.source.load()
    following.write(MORE)
    rest = iter(["# and more\n"])

    def scan_then_write(folder: Path) -> Contents:
        contents = scan(folder)
        if line := next(rest, ""):
            following.write(MORE + line)
        return contents

    monkeypatch.setattr(policy_source, "scan", scan_then_write)
    assert await following.source.poll() is ReloadOutcome.UNSETTLED
    assert len(following.fleets) == 1
    assert await following.source.poll() is ReloadOutcome.APPLIED
    assert len(following.fleets) == 2


async def test_a_read_that_hangs_is_a_problem_and_is_tried_again(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    following.source.load()
    following.write(MORE)
    answers = threading.Event()

    def scan_late(folder: Path) -> Contents:
        assert answers.wait(timeout=60)
        return scan(folder)

    monkeypatch.setattr(policy_source, "scan", scan_late)
    monkeypatch.setattr(policy_source, "READ_TIMEOUT_S", 0.05)
    assert await following.source.poll() is ReloadOutcome.REJECTED
    [problem] = following.source.problems
    assert problem.problem == "cannot be read: it takes longer than 0.05 s"
    answers.set()
    monkeypatch.setattr(policy_source, "READ_TIMEOUT_S", 60.0)
    assert await following.source.poll() is ReloadOutcome.APPLIED
    assert following.source.problems == ()


async def test_problems_are_logged_with_their_fields(
    following: Following, caplog: pytest.LogCaptureFixture
) -> None:
    following.source.load()
    following.write(BAD)
    with caplog.at_level(logging.INFO, logger="headway_router"):
        await following.source.poll()
    problem, rejected = [json.loads(JsonLines().format(record)) for record in caplog.records]
    assert (problem["event"], problem["level"]) == ("config.problem", "error")
    assert problem["file"] == f"{following.folder}/pool.yaml"
    assert problem["line"] == 10
    assert problem["field"] == "spec.groups[0].endpoints[0].port"
    assert problem["problem"] == "80010 is too large"
    assert problem["allowed"] == "an integer from 1 to 65535"
    assert (rejected["event"], rejected["problems"]) == ("config.rejected", 1)
    assert rejected["kept"] == scan_digest(following, POOL)


async def test_the_debug_page_shows_both_contents_and_the_problems(following: Following) -> None:
    following.source.load()
    following.write(BAD)
    await following.source.poll()
    page = json.loads(json.dumps(following.source.debug()))
    assert page["folder"] == str(following.folder)
    assert page["seen"] == scan(following.folder).digest
    assert page["applied"] == scan_digest(following, POOL)
    assert page["problems"] == [str(following.source.problems[0])]


async def test_the_callback_is_called_in_the_event_loop(tmp_path: Path) -> None:
    (tmp_path / "pool.yaml").write_text(POOL)
    loops: list[asyncio.AbstractEventLoop] = []

    def note_the_loop(_: Fleet) -> None:
        loops.append(asyncio.get_running_loop())

    source = FolderSource(tmp_path, on_fleet=note_the_loop, metrics=Metrics(), settle_s=0.0)
    await source.poll()
    assert loops == [asyncio.get_running_loop()]


def scan_digest(following: Following, text: str) -> str:
    following.write(text)
    return scan(following.folder).digest
