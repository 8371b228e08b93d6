"""The compiled profiles that come with the package, by deployment and version of vLLM's tables."""

import re
from functools import cache
from pathlib import Path

from headway_sim.profiles.tables import StepTables, read
from headway_sim.profiles.versions import Version, version

FOLDER = Path(__file__).parent / "stored"
_FILE = re.compile(r"(?P<name>.+)-vllm(?P<version>\d+\.\d+\.\d+)\.npz")


def file_name(tables: StepTables) -> str:
    """Under which they are stored."""
    about = tables.about
    tables_version = "" if about.tables_version is None else f"-vllm{about.tables_version}"
    return f"{about.deployment.name}{tables_version}.npz"


@cache
def stored() -> dict[str, dict[Version, Path]]:
    """Deployment name -> version of the tables -> file."""
    known: dict[str, dict[Version, Path]] = {}
    for path in sorted(FOLDER.glob("*.npz")):
        found = _FILE.fullmatch(path.name)
        assert found is not None, f"{path.name} is named by nobody but compile"
        known.setdefault(found["name"], {})[version(found["version"])] = path
    return known


def newest_for(versions: dict[Version, Path], engine: Version) -> tuple[Path, bool]:
    """The newest that is not newer than the engine, else the oldest; whether that is newer."""
    old_enough = [known for known in versions if known <= engine]
    return (versions[max(old_enough)], False) if old_enough else (versions[min(versions)], True)


load = cache(read)
