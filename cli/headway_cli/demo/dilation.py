"""How much slower than real time to run, so that this machine is not what is measured.

    dilation = max(minimum, CPU seconds per engine second / (TARGET_BUSY * cores))

The engines' time is simulated, the HTTP around them is real.  The CPU seconds come from measured
costs, scaled by how fast this machine runs a fixed piece of work.
"""

import hashlib
import math
import os
import pickle
import time
from collections.abc import Sequence
from pathlib import Path

from headway_sim.workloads.request import WorkloadRequest

TARGET_BUSY = 0.4
"""Of all cores, by the estimate; what must not be passed is 0.6."""

REQUEST_CPU_S = 9e-3
PROMPT_TOKEN_CPU_S = 1.6e-6
OUTPUT_TOKEN_CPU_S = 60e-6
"""Of client, Envoy, router and engine together, per request and per token of it.  Measured: 18.6 ms
for the mean request of the built-in workload, 44 ms for that of Mooncake's conversations, on a
machine that needs ``REFERENCE_S`` for the reference."""
REFERENCE_S = 0.005
REFERENCE_RUNS = 20


def choose_dilation(
    requests: Sequence[WorkloadRequest],
    duration_s: float,
    minimum: float,
    cpu_s: float,
    cores: float,
) -> float:
    """Rounded up to a half, so that the same machine chooses the same again.

    ``cpu_s``: what the reference work takes here.
    """
    work_s = sum(
        REQUEST_CPU_S
        + PROMPT_TOKEN_CPU_S * request.prompt_tokens
        + OUTPUT_TOKEN_CPU_S * request.output_tokens
        for request in requests
    )
    busy_cores = work_s / duration_s * cpu_s / REFERENCE_S
    return max(minimum, math.ceil(2 * busy_cores / (TARGET_BUSY * cores)) / 2)


def reference_cpu_s() -> float:
    """CPU time of hashing blocks as an engine does; the best of many, as others may run too."""
    return min(_reference_run() for _ in range(REFERENCE_RUNS))


def available_cores() -> float:
    """Cores that this process may use: its affinity, less where its control group is limited."""
    try:
        cores = float(len(os.sched_getaffinity(0)))
    except AttributeError:
        cores = float(os.cpu_count() or 1)
    limit = _cgroup_limit(Path("/sys/fs/cgroup/cpu.max"))
    return cores if limit is None else min(cores, limit)


def _reference_run() -> float:
    tokens, parent = tuple(range(16)), b""
    started = time.process_time()
    for _ in range(4000):
        parent = hashlib.sha256(pickle.dumps((parent, tokens, None))).digest()
    return time.process_time() - started


def _cgroup_limit(path: Path) -> float | None:
    """``quota period`` in microseconds; None: not limited, or no such file."""
    try:
        quota, period = path.read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)
