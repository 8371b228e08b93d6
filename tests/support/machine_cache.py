"""What takes minutes to make is made once per machine and shared by every checkout.

It lies in ``~/.cache/headway/<name>-<hash of what it is made of>``.  A lock lets one process build
while the others wait; whoever builds does so beside the final place.
"""

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

CACHE = Path.home() / ".cache" / "headway"

Tell = Callable[[str], None]
"""Prints a line for whoever waits."""


class BuildFailed(Exception):
    """It should have been possible here and was not: the command and the end of its output."""


def run(
    command: Sequence[str | Path],
    *,
    limit_s: float,
    may_fail: bool = False,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """The command's output.  Raises: BuildFailed: if it fails or never ends."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit_s,
            check=False,
            cwd=folder,
            env=None if environment is None else {**os.environ, **environment},
        )
    except subprocess.TimeoutExpired as error:
        raise BuildFailed(f"no end after {limit_s:.0f} s: {words}") from error
    if done.returncode != 0 and not may_fail:
        raise BuildFailed(f"exit {done.returncode}: {words}\n{done.stdout[-3000:]}")
    return done.stdout


@contextmanager
def locked(name: str, tell: Tell, *, limit_s: float) -> Iterator[None]:
    """Holds the lock file of ``name``, which the kernel frees with the process."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / f"{name}.lock"
    deadline_s = time.monotonic() + limit_s
    with path.open("w") as file:
        waited = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise BuildFailed(f"another process holds {path}") from None
                if not waited:
                    tell(f"waiting for another process that builds the same ({path})")
                waited = True
                time.sleep(0.5)
        yield
