"""The flags of the demo are checked before anything starts."""

import gzip
import json
from pathlib import Path

import pytest

from headway_cli.demo import main
from headway_cli.demo.errors import InvalidOptions
from headway_cli.demo.experiment import TRACE_SPEED, Source
from headway_cli.demo.settings import Settings, parse

ROW = {"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}


def a_trace(path: Path, *rows: dict[str, object]) -> Path:
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


def test_the_defaults() -> None:
    assert parse([]) == Settings(seed=1, minutes=1.0, trace=None, json=None, stay=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes", "0"], "--minutes: 0 is not a positive number"),
        (["--minutes", "nan"], "--minutes: nan is not"),
        (["--trace", "/nowhere/t.jsonl"], "--trace: no such file: /nowhere/t.jsonl"),
        (["--json", "/nowhere/o.json"], "--json: no such folder: /nowhere"),
    ],
)
def test_bad_flags_are_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InvalidOptions, match=message):
        parse(arguments)
    assert main(arguments) == 2
    assert message in capsys.readouterr().out.replace("\n", " ")


def test_a_trace_with_a_bad_line_is_refused_with_file_and_line(tmp_path: Path) -> None:
    path = a_trace(tmp_path / "t.jsonl.gz", ROW, {**ROW, "extra": 1})
    with pytest.raises(InvalidOptions, match=r"--trace: .*t\.jsonl\.gz, line 2: expected the col"):
        Source(parse(["--trace", str(path)]))


def test_a_request_that_no_engine_could_take_is_refused_not_left_out(tmp_path: Path) -> None:
    long = {**ROW, "input_length": 131_072, "hash_ids": list(range(256))}
    path = a_trace(tmp_path / "t.jsonl.gz", ROW, long)
    with pytest.raises(InvalidOptions, match=r"line 2: 131077 tokens, .* at most 131072"):
        Source(parse(["--trace", str(path)]))


def test_a_trace_is_replayed_from_its_start_for_as_long_as_wanted(tmp_path: Path) -> None:
    rows = [{**ROW, "timestamp": 3000 * tick} for tick in range(10)]
    source = Source(parse(["--trace", str(a_trace(tmp_path / "t.jsonl.gz", *rows))]))
    experiment = source.experiment(duration_s=18.0 / TRACE_SPEED)
    assert [int(TRACE_SPEED * r.at_s) // 3 for r in experiment.requests] == list(range(6))
    assert experiment.trace is not None and experiment.trace.requests == 10
    assert experiment.fleet.max_model_len == 131_072


def test_a_workload_without_requests_is_an_error(tmp_path: Path) -> None:
    path = a_trace(tmp_path / "t.jsonl.gz", {**ROW, "timestamp": 600_000})
    with pytest.raises(InvalidOptions, match="--minutes: no request arrives in 30 s"):
        Source(parse(["--trace", str(path)])).experiment(duration_s=30.0)
