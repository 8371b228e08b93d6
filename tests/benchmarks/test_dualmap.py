"""The DualMap experiment: the small form runs whole, goes on where it was, and says its n."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.dualmap import experiment, page
from benchmarks.dualmap.knee import search
from benchmarks.dualmap.parts import compared

ROOT = Path(__file__).parents[2]


def run(*arguments: str, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "dualmap", *arguments],
        cwd=ROOT,
        env=os.environ | {"XDG_CACHE_HOME": str(cache)} | environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.slow
def test_the_small_form_runs_whole_and_a_second_time_runs_nothing(tmp_path: Path) -> None:
    command = ("--quick", "--out", str(tmp_path / "out"))
    first = run(*command, cache=tmp_path)
    assert first.returncode == 0, first.stderr
    found = json.loads((tmp_path / "out" / "dualmap.json").read_text())
    assert set(found) == {"conversation", "past-the-knee", "stale-views", "whole"}
    for row in found["conversation"]:
        assert (row["windows"], row["seeds"]) == (2, 2)
        assert row["rate_per_s"] > 0
    written = (tmp_path / "out" / "results.md").read_text()
    assert "Not computed" not in written
    assert "n = 2 x 1" in written
    ET.parse(tmp_path / "out" / "past-the-knee.svg")
    again = run(*command, cache=tmp_path)
    assert again.returncode == 0
    assert "headway at" in first.stderr
    assert "headway at" not in again.stderr
    assert (tmp_path / "out" / "results.md").read_text() == written


def test_a_missing_trace_is_named(tmp_path: Path) -> None:
    refused = run("--out", str(tmp_path), cache=tmp_path, HEADWAY_DATA=str(tmp_path / "none"))
    assert refused.returncode == 2
    assert "mooncake_conversation_trace.jsonl.gz" in refused.stderr


def test_an_unknown_part_is_refused_with_those_there_are(tmp_path: Path) -> None:
    refused = run("knees", "--out", str(tmp_path), cache=tmp_path)
    assert refused.returncode == 2
    assert "no part knees; one of conversation, " in refused.stderr


def test_what_was_not_computed_is_said_and_is_no_row() -> None:
    known = experiment.full(Path("nowhere"), experiment.Size())
    written = page.files({}, known)
    assert set(written) == {"results.md"}
    assert written["results.md"].count("Not computed.") == len(known)
    assert "|" not in written["results.md"]


def rate_of(number: int) -> float:
    return 8.0 * 1.03**number


def answered(start: int, attainment: Callable[[float], float]) -> tuple[object, list[int]]:
    asked, searching = [], search(start, rate_of)
    number = next(searching)
    try:
        while True:
            asked.append(number)
            number = searching.send(attainment(rate_of(number)))
    except StopIteration as end:
        return end.value, asked


@pytest.mark.parametrize("start", [-40, -1, 0, 1, 2, 30])
def test_the_crossing_is_found_from_anywhere_and_nothing_is_asked_twice(start: int) -> None:
    def attainment(rate: float) -> float:
        return min(1.0, max(0.0, 1.9 - rate / 8.32))

    found, asked = answered(start, attainment)
    assert getattr(found, "rate_per_s", None) == pytest.approx(8.32)
    assert len(asked) == len(set(asked))
    assert getattr(found, "below", None) == 1
    if start == 1:
        assert asked == [1, 2]


@pytest.mark.parametrize("always", [0.0, 1.0])
def test_what_is_never_crossed_is_none(always: float) -> None:
    found, asked = answered(0, lambda rate: always)
    assert found is None
    assert all(abs(b) > abs(a) for a, b in pairwise(asked))


def test_seeds_of_a_window_are_one_value_and_windows_are_paired() -> None:
    mine = {"by_window_and_seed": [[11.0, 11.0], [22.0, 22.0], [None, 1.0]]}
    other = {"by_window_and_seed": [[9.0, 11.0], [20.0, 20.0], [1.0, 1.0]]}
    assert compared(mine, other) == {
        "percent": pytest.approx(10.0),
        "half_width": pytest.approx(0.0),
        "windows": 2,
    }
