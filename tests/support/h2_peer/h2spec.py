"""The conformance tool h2spec, built once per machine."""

from pathlib import Path
from tempfile import TemporaryDirectory

from go_toolchain import go, run_go_online
from machine_cache import CACHE, Tell, locked

VERSION = "v2.2.1"
_MODULE = f"github.com/summerwind/h2spec/cmd/h2spec@{VERSION}+incompatible"
_WHAT = "h2spec"
_LIMIT_S = 600.0


def h2spec(tell: Tell) -> Path:
    """Path of the binary; builds it if needed.  Raises: Unavailable, BuildFailed."""
    home = CACHE / f"h2spec-{VERSION}"
    built = home / "h2spec"
    with locked(home.name, tell, limit_s=_LIMIT_S):
        if not built.exists():
            home.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=home) as draft:
                # It has no go.mod of its own, so Go has to write one.
                install = ["install", "-mod=mod", _MODULE]
                command = ["env", f"GOBIN={draft}", str(go(_WHAT)), *install]
                run_go_online(_WHAT, command, limit_s=_LIMIT_S)
                Path(draft, built.name).rename(built)
    return built
