"""Azure's traces: what is read, and what is refused."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from headway_sim.errors import InvalidTrace
from headway_sim.workloads.azure import load
from headway_sim.workloads.request import Segment, WorkloadRequest

HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens"
FIRST = "2023-11-16 23:59:59.9799600,4808,10"


def write(path: Path, *lines: str) -> Path:
    text = "".join(f"{line}\r\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["trace.csv", "trace.csv.gz"])
def test_a_line_becomes_a_request_that_shares_nothing(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, HEAD, FIRST, "2023-11-17 00:00:01,110,27")
    one, two = load(path)
    assert one == WorkloadRequest(at_s=0.0, prompt=(Segment("azure/2", 4808),), output_tokens=10)
    assert two.at_s == pytest.approx(1.02004)
    assert (two.prompt_tokens, two.output_tokens) == (110, 27)
    assert two.prompt[0].key != one.prompt[0].key


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["TIMESTAMP,ContextTokens", "x"], "line 1: expected the columns .* got TIMESTAMP, Con"),
        ([HEAD + ",Model", FIRST], "line 1: expected the columns .*Model"),
        ([HEAD, FIRST, FIRST + ",1"], "line 3: expected 3 fields, got 4"),
        ([HEAD, "16.11.2023,1,1"], "line 2: TIMESTAMP: expected a time as .* got '16.11.2023'"),
        ([HEAD, "2023-11-16 18:00:00,0,1"], "line 2: ContextTokens: .* at least 1, got '0'"),
        ([HEAD, "2023-11-16 18:00:00,1,-5"], "line 2: GeneratedTokens: .* got '-5'"),
        ([HEAD, FIRST, "2023-11-16 23:59:59.97,1,1"], "line 3: TIMESTAMP is before that of the"),
        ([HEAD], "no requests"),
        ([], "no requests"),
    ],
)
def test_what_does_not_fit_is_named(lines: list[str], reason: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidTrace, match=reason):
        load(write(tmp_path / "trace.csv", *lines))


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidTrace, match=r"none\.csv: no such file"):
        load(tmp_path / "none.csv")
    (tmp_path / "bad.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(InvalidTrace, match=r"bad\.csv\.gz: cannot be read"):
        load(tmp_path / "bad.csv.gz")


@pytest.mark.parametrize(("name", "rows", "mean"), [("code", 8819, 2048), ("conv", 19366, 1155)])
def test_the_published_traces_are_read_whole(
    name: str, rows: int, mean: int, shared_file: Callable[[str], Path]
) -> None:
    requests = load(shared_file(f"traces/azure_llm_inference_2023_{name}.csv.gz"))
    assert len(requests) == rows
    assert round(sum(r.prompt_tokens for r in requests) / rows) == mean
