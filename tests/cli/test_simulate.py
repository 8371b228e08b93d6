"""``headway simulate`` as users call it."""

import asyncio
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headway_cli.simulate import main
from headway_core.policy import Fleet
from headway_core.testing import a_chain, a_pool, a_request
from headway_router.decision_log import DecisionLog
from headway_router.metrics import Metrics

EXAMPLES = Path(__file__).parents[2] / "examples" / "simulate"
SCENARIOS = sorted(path.name for path in EXAMPLES.glob("*.yaml"))


def test_there_are_examples() -> None:
    assert SCENARIOS == ["conversations.yaml", "faults.yaml", "trace.yaml"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_example_runs_and_accounts_for_every_request(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, table = tmp_path / "r.json", tmp_path / "r.csv"
    assert main([str(EXAMPLES / name), "--json", str(result), "--csv", str(table)]) == 0
    report = json.loads(result.read_text())
    requests = report["requests"]
    ends = sum(requests[fate] for fate in ("finished", "shed", "failed"))
    assert requests["arrived"] == ends > 100
    with table.open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == requests["arrived"] + requests["warm_up"]
    assert sum(line["fate"] == "finished" for line in lines) >= requests["finished"]
    assert list(report) == sorted(report)
    shown = capsys.readouterr().out
    assert f"{name.removesuffix('.yaml')}, policy headway" in shown
    for engine in report["engines"]:
        assert engine["name"] in shown


SMALL = """
config: {config}
engines: [{{profile: h100-llama-3.1-8b-tp1, blockTokens: 256}}]
workload: {{poisson: {{ratePerSecond: 40}}, requests: 60}}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL.format(config=EXAMPLES / "config"))
    return file


def test_a_seed_on_the_command_line_wins(small: Path, tmp_path: Path) -> None:
    reports = []
    for seed in ("0", "5", "5"):
        assert main([str(small), "--seed", seed, "--json", str(tmp_path / "r.json")]) == 0
        reports.append(json.loads((tmp_path / "r.json").read_text()))
    assert [report["seed"] for report in reports] == [0, 5, 5]
    assert reports[0]["ttft_s"] != reports[1]["ttft_s"]
    assert reports[1] == reports[2]


@pytest.mark.slow
def test_the_files_are_the_same_to_the_byte_in_another_process(small: Path, tmp_path: Path) -> None:
    contents = set()
    for hash_seed in ("1", "77"):
        command = [sys.executable, "-m", "headway_cli", "simulate", str(small)]
        files = [tmp_path / f"{hash_seed}.{kind}" for kind in ("json", "csv", "trace")]
        subprocess.run(
            [*command, "--json", files[0], "--csv", files[1], "--perfetto", files[2]],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
        )
        contents.add(b"".join(file.read_bytes() for file in files))
    assert len(contents) == 1


def test_a_broken_scenario_is_one_message_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("config: x\nengine: []\nworkload: {}\n")
    assert main([str(file)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"headway simulate: {file}:1: engines: missing"
    assert second.startswith(f"{file}:2: engine: unknown field; allowed: config, policy,")


def test_an_output_that_cannot_be_written_is_refused_before_the_run(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(small), "--json", str(tmp_path / "no" / "r.json")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_a_complete_decision_log_is_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "decisions.jsonl"
    log = DecisionLog(str(path), is_complete=True, metrics=Metrics())
    log.core.apply(Fleet(pools=(a_pool(["a", "b", "c"]),)), 0.0)
    for number in range(20):
        log.core.place(a_request(request_id=f"r{number}", blocks=a_chain(number, 6)), number / 10)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(log.run(), 0.01))
    assert main(["--replay", str(path)]) == 0
    assert capsys.readouterr().out == "21 calls, 0 answered otherwise\n"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], *lines[4:]]))
    assert main(["--replay", str(path)]) == 1
    said = capsys.readouterr().out
    assert "call 1, place at 0.2" in said and "19 calls, " in said


def test_either_a_scenario_or_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert "either a SCENARIO.yaml or --replay FILE" in capsys.readouterr().err
