"""``headway bench simulator`` as users call it, on the head of the real trace."""

import json
from pathlib import Path

import pytest

from headway_cli.bench import CASES, main

TRACE = Path(__file__).parents[3] / "shared/data/traces/mooncake_conversation_trace.jsonl.gz"


@pytest.mark.slow
@pytest.mark.skipif(not TRACE.is_file(), reason=f"the trace is not here: {TRACE}")
def test_it_measures_every_case_and_reaches_its_ratios(tmp_path: Path) -> None:
    result = tmp_path / "bench.json"
    arguments = ["simulator", "--trace", str(TRACE), "--requests", "1500", "--json", str(result)]
    assert main(arguments) == 0
    written = json.loads(result.read_text())
    measured = [(row["policy"], row["engines"], row["block_tokens"]) for row in written["rows"]]
    assert measured == [(case.policy, case.engines, case.block_tokens) for case in CASES]
    for row in written["rows"]:
        assert set(row) == {
            "policy",
            "engines",
            "block_tokens",
            "requests_per_s",
            "peak_rss_mib",
        }
        assert row["requests_per_s"] > 0
        assert 10 < row["peak_rss_mib"] < 4096
    # Both sides of a ratio ran in turn on the same machine: half of what is reached without load.
    assert written["ratios"]["headway_to_round_robin"] >= 0.35
    assert written["ratios"]["fast_forward_to_literal"] >= 10


@pytest.mark.parametrize(
    ("line", "problem"),
    [(None, "no such file"), ("{}\n", "line 1: expected the columns")],
    ids=["missing", "of another format"],
)
def test_a_trace_that_cannot_be_used_is_refused(
    line: str | None, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.jsonl"
    if line is not None:
        trace.write_text(line)
    assert main(["simulator", "--trace", str(trace)]) == 2
    assert problem in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "missing" / "bench.json"
    assert main(["simulator", "--trace", "t.jsonl", "--json", str(result)]) == 2
    assert "no such folder" in capsys.readouterr().err
