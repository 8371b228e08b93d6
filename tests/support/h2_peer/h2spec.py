"""The conformance tool h2spec, built once by the machine's Go into the user's cache."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

VERSION = "v2.2.1"
_MODULE = f"github.com/summerwind/h2spec/cmd/h2spec@{VERSION}+incompatible"


def go() -> str | None:
    """The path of a Go that can build it."""
    return shutil.which("go") or next(filter(os.path.exists, ["/usr/local/go/bin/go"]), None)


def h2spec() -> Path:
    """Raises: RuntimeError: there is a Go, and it does not build it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "headway" / f"h2spec-{VERSION}"
    binary = folder / "h2spec"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            command = [go() or "go", "install", _MODULE]
            environment = os.environ | {"GOBIN": str(folder)}
            built = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=600, check=False
            )
            if built.returncode or not binary.exists():
                raise RuntimeError(f"{' '.join(command)} failed:\n{built.stderr}")
    return binary
