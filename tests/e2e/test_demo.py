"""``headway demo`` as its users run it, for a short while."""

import asyncio
import gzip
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway_stack.stack import PATIENCE_S, eventually
from headway_cli.demo.processes import Child, Children

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="session"),
]

TOO_BUSY = 3
DEMO_LIMIT_S = 600.0
"""Ends a test that would wait for ever; two arms at double dilation need two minutes."""


async def run_demo(folder: Path, *flags: str) -> dict[str, Any]:
    """Its results; skips the test where the machine was too busy to measure anything."""
    results = folder / "results.json"
    command = [sys.executable, "-m", "headway_cli", "demo", f"--json={results}", *flags]
    async with Children(folder) as children:
        child = await children.start("demo", command)
        async with asyncio.timeout(DEMO_LIMIT_S):
            code = await child.process.wait()
    text = child.output.read_text() + child.log.read_text()
    if code == TOO_BUSY:
        pytest.skip(f"the demo found the machine too busy: {text[-300:]}")
    assert code == 0, text
    report: dict[str, Any] = json.loads(results.read_text())
    return report


def check_counts(report: dict[str, Any]) -> None:
    assert report["schema"] == 1
    assert report["dilation"] >= 1
    assert [run["policy"] for run in report["runs"]] == ["round-robin", "headway"]
    for run in report["runs"]:
        assert run["requests"] == report["workload"]["requests"] > 0
        assert run["failed"] == 0
        assert run["shed"] <= 0.02 * run["requests"]
        assert run["leases_outstanding"] == 0
        assert 0 <= run["cached_token_share"] <= 1
        assert 0 <= run["slo_attainment"] <= 1
        assert 0 < run["ttft_s"]["p50"] <= run["ttft_s"]["p90"] <= run["ttft_s"]["p99"]
        assert run["event_loop_lag_s"]["p99"] <= 0.02
        assert len({engine["accelerator"] for engine in run["engines"]}) == 2
        finished = sum(engine["requests"] for engine in run["engines"])
        assert finished == run["requests"] - run["shed"]
        prompt_tokens = sum(engine["prompt_tokens"] for engine in run["engines"])
        assert prompt_tokens == pytest.approx(report["workload"]["prompt_tokens"], rel=0.02)


async def test_conversations_find_more_in_caches_than_under_round_robin(tmp_path: Path) -> None:
    report = await run_demo(tmp_path, "--minutes=0.25", "--seed=5")
    check_counts(report)
    round_robin, headway = report["runs"]
    assert report["seed"] == 5
    # After a minute it is 1.8 times; here most conversations are still in their first turns.
    assert headway["cached_token_share"] >= 1.3 * round_robin["cached_token_share"]
    assert headway["slo_attainment"] >= round_robin["slo_attainment"]
    spread = [engine["requests"] for engine in round_robin["engines"]]
    assert max(spread) - min(spread) <= 1


async def test_a_trace_is_replayed(tmp_path: Path) -> None:
    """Two users whose prompts grow; what they share is the first block."""
    trace = tmp_path / "trace.jsonl.gz"
    rows = []
    for turn in range(6):
        for user in (1, 2):
            blocks = [0, *(1000 * user + n for n in range(4 * (turn + 1)))]
            rows.append(
                {
                    "timestamp": 3000 * turn,
                    "input_length": 512 * len(blocks) - 100,
                    "output_length": 20,
                    "hash_ids": blocks,
                }
            )
    trace.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    report = await run_demo(tmp_path, f"--trace={trace}", "--minutes=0.2")
    check_counts(report)
    assert report["workload"]["name"] == "trace.jsonl.gz"
    assert report["workload"]["requests"] <= report["workload"]["requests_in_trace"] == 12
    round_robin, headway = report["runs"]
    assert headway["cached_token_share"] >= round_robin["cached_token_share"]
    assert headway["slo_attainment"] >= round_robin["slo_attainment"]
    assert set(headway["slo"]) == {"ttft_s", "ttft_s_per_1k_tokens"}


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_the_fleet_can_be_kept_and_tried(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "headway_cli", "demo", "--minutes=0.03", "--stay"]
    async with Children(tmp_path) as children:
        demo = await children.start("demo", command)

        async def invites_or_gave_up() -> bool:
            return "Ctrl-C" in demo.output.read_text() or demo.process.returncode is not None

        await eventually(invites_or_gave_up, "the demo says what to try", patience_s=DEMO_LIMIT_S)
        text = demo.output.read_text()
        if demo.process.returncode == TOO_BUSY:
            pytest.skip(f"the demo found the machine too busy: {text[-300:]}")
        # What a user would paste.
        curl = text[text.index("curl ") : text.index("Ctrl-C")].replace("curl -i", "curl -s")
        shell = await asyncio.create_subprocess_shell(curl, stdout=asyncio.subprocess.PIPE)
        answer, _ = await asyncio.wait_for(shell.communicate(), PATIENCE_S)
        assert json.loads(answer)["usage"]["completion_tokens"] == 16
        demo.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE_S):
            assert await demo.process.wait() == 130


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"]
)
async def test_a_signal_ends_the_whole_fleet(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    async with Children(tmp_path) as children:
        demo = await children.start("demo", [sys.executable, "-m", "headway_cli", "demo"])

        async def engines_run() -> bool:
            return len(children_of(demo)) >= 4

        await eventually(engines_run, "the demo has started its engines")
        fleet = children_of(demo)
        demo.process.send_signal(number)
        async with asyncio.timeout(PATIENCE_S):
            assert await demo.process.wait() == code
    assert not alive(fleet)


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def children_of(child: Child) -> list[int]:
    pid = child.process.pid
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(one) for one in path.read_text().split()] if path.exists() else []
