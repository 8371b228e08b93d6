"""A Go program that tests run, built once per machine from a module of this repository."""

import hashlib
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from go_toolchain import Unavailable, go, run_go, run_go_online
from machine_cache import CACHE, Tell, locked

BUILD_LIMIT_S = 2400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GoProgram:
    """Pinned by the files of its module."""

    what: str
    """It, in a message."""
    name: str
    module: Path
    files: tuple[str, ...]
    """Those of the module that decide what is built."""
    package: str = "."
    flags: tuple[str, ...] = ("-trimpath", "-buildvcs=false", "-ldflags", "-s -w")

    def binary(self, tell: Tell) -> Path:
        """Path of the binary; builds it if needed.  Raises: Unavailable, BuildFailed."""
        if sys.platform != "linux":
            raise Unavailable(f"{self.what} runs on Linux, this is {sys.platform}")
        home = CACHE / f"{self.name}-{self._key()}"
        built = home / self.name
        with locked(home.name, tell, limit_s=BUILD_LIMIT_S):
            if not built.exists():
                self.build(built, go(self.what), tell)
        return built

    def build(self, built: Path, go: Path, tell: Tell) -> None:
        started_s = time.monotonic()
        tell(f"building {self.what} into {built.parent} (once per machine, minutes)")
        self.download(go)
        tell("  its modules are here; now compiling them")
        draft = built.with_suffix(f".{os.getpid()}")
        run_go(
            ["nice", go, "build", "-p", "2", *self.flags, "-o", draft, self.package],
            limit_s=BUILD_LIMIT_S,
            folder=self.module,
        )
        draft.rename(built)
        tell(f"  built in {time.monotonic() - started_s:.0f} s")

    def download(self, go: Path) -> None:
        """Raises: Unavailable: there is no network; BuildFailed: whatever else went wrong."""
        command: list[str | Path] = [go, "mod", "download"]
        run_go_online(self.what, command, limit_s=BUILD_LIMIT_S, folder=self.module)

    def _key(self) -> str:
        sources = [(self.module / name).read_text() for name in self.files]
        parts = [*sources, *self.flags, platform.machine()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
