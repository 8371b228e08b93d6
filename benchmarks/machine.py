"""What the figures were measured on, and what a process has used of it."""

import os
import platform
from pathlib import Path


def describe() -> str:
    cpus = len(os.sched_getaffinity(0))
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "?")
    return f"{cpus} x {model}, Python {platform.python_version()}, {platform.system()}"


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads of a process, user and system.

    From the scheduler's nanoseconds where the kernel keeps them, else from ticks of 10 ms.
    """
    try:
        tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
    except (FileNotFoundError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
