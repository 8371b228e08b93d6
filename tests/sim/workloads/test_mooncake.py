"""Traces in Mooncake's format: what is read, and what is refused."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_sim.errors import InvalidTrace
from headway_sim.workloads.mooncake import TICK_S, load, spaced, spread
from headway_sim.workloads.request import Segment, WorkloadRequest

ROW = {"timestamp": 3000, "input_length": 1100, "output_length": 7, "hash_ids": [0, 4, 9]}


def write(path: Path, *rows: object) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["trace.jsonl", "trace.jsonl.gz"])
def test_a_line_becomes_a_request_of_chained_blocks(name: str, tmp_path: Path) -> None:
    (request,) = load(write(tmp_path / name, ROW))
    assert request == WorkloadRequest(
        at_s=3.0,
        prompt=(Segment("block/0", 512), Segment("block/4", 512), Segment("block/9", 76)),
        output_tokens=7,
    )
    assert request.prompt_tokens == 1100


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**ROW, "model": "x"}, "expected the columns hash_ids, .* got .*model"),
        ({"timestamp": 1, "input_length": 2}, "expected the columns"),
        ([1, 2], "expected the columns .* got list"),
        ({**ROW, "timestamp": -1}, "timestamp: expected an integer of at least 0, got -1"),
        ({**ROW, "timestamp": 1.5}, "timestamp: expected an integer"),
        ({**ROW, "input_length": 0, "hash_ids": []}, "input_length: expected an integer of at"),
        ({**ROW, "output_length": True}, "output_length: expected an integer of at least 1"),
        ({**ROW, "hash_ids": [0, 4]}, "hash_ids: 1100 input tokens are 3 blocks of 512, got 2"),
        ({**ROW, "hash_ids": "0,4,9"}, "hash_ids: expected a list of integers"),
        ({**ROW, "timestamp": 0}, "timestamp is before that of the line above"),
    ],
)
def test_a_line_that_does_not_fit_is_named(row: object, reason: str, tmp_path: Path) -> None:
    path = write(tmp_path / "trace.jsonl", ROW, row)
    with pytest.raises(InvalidTrace, match=rf"trace\.jsonl, line 2: {reason}") as error:
        load(path)
    assert error.value.line == 2


def test_text_that_is_not_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(json.dumps(ROW) + "\n{oops\n")
    with pytest.raises(InvalidTrace, match="line 2: not JSON"):
        load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidTrace, match=r"absent\.jsonl: no such file"):
        load(tmp_path / "absent.jsonl")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidTrace, match="no requests"):
        load(write(tmp_path / "trace.jsonl"))


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "trace.jsonl.gz", *([ROW] * 100))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvalidTrace, match="cannot be read"):
        load(path)


@given(
    gaps_ms=st.lists(st.sampled_from([0, 0, 1, 2999, 3000, 9000]), min_size=1, max_size=30),
    seed=st.integers(),
)
def test_spreading_keeps_the_order_and_stays_inside_each_tick(
    gaps_ms: list[int], seed: int
) -> None:
    at_ms = 0
    trace = []
    for number, gap_ms in enumerate(gaps_ms):
        at_ms += gap_ms
        trace.append(
            WorkloadRequest(
                at_s=at_ms / 1000, prompt=(Segment(f"block/{number}", 1),), output_tokens=1
            )
        )
    apart = spread(trace, seed)
    assert [r.prompt for r in apart] == [r.prompt for r in trace]
    assert [r.at_s for r in apart] == sorted(r.at_s for r in apart)
    assert all(
        0 <= after.at_s - before.at_s <= TICK_S for before, after in zip(trace, apart, strict=True)
    )
    assert apart == spread(trace, seed)


def test_the_published_conversation_trace_is_read_whole(
    shared_file: Callable[[str], Path],
) -> None:
    requests = load(shared_file("traces/mooncake_conversation_trace.jsonl.gz"))
    assert len(requests) == 12_031
    assert max(request.prompt_tokens for request in requests) == 126_195
    assert {request.prompt[0] for request in requests} == {Segment("block/0", 512)}


def test_requests_of_one_time_are_spaced_evenly_until_the_next() -> None:
    requests = [
        WorkloadRequest(at_s=at_s, prompt=(Segment("x", 1),), output_tokens=1)
        for at_s in (0.0, 0.0, 3.0, 9.0, 9.0, 9.0)
    ]
    assert [r.at_s for r in spaced(requests)] == [0.0, 1.5, 3.0, 9.0, 10.0, 11.0]
