"""Where operator tables come from: an installed package, a wheel file or a folder.

Two layouts of the same tables, by NVIDIA AIConfigurator (Apache-2.0):

    systems/data/<system>/<family>/vllm/<version>/<op>_perf.parquet        aiconfigurator-core
    systems/data/<system>/vllm/<version>/<op>_perf.parquet                 aiconfigurator

with NCCL's under ``nccl`` instead of ``vllm``.  A ``reuse.yaml`` beside them says that a version
takes a table from another one.  Nothing else of such a package is read.
"""

import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import yaml

from headway_sim.errors import MissingTables
from headway_sim.profiles.compile.table import Table, read_parquet
from headway_sim.profiles.versions import Version, text_of, version

PACKAGE = "aiconfigurator-core"
_PLACE = re.compile(
    r"(?:^|.*/)systems/data/(?P<system>[^/]+)/(?:[^/]+/)?(?P<library>vllm|nccl)/"
    r"(?P<version>\d+\.\d+(?:\.\d+)?)/(?P<file>[^/]+)$"
)
_TABLE = "_perf.parquet"


@dataclass(frozen=True, slots=True)
class FoundTable:
    """A table and where it is from."""

    op: str
    version: str
    is_newer_than_engine: bool
    """There is none that is old enough: this is the oldest."""
    sha256: str
    rows: Table


class TableSource:
    """``read`` gives the bytes of one of ``names``, which are paths with slashes."""

    def __init__(self, label: str, names: list[str], read: Callable[[str], bytes]) -> None:
        self.label = label
        """Package and version, for the provenance of what is compiled from it."""
        self._read = read
        self._tables: dict[tuple[str, str, str], dict[Version, str]] = {}
        places = [(name, found) for name in sorted(names) if (found := _PLACE.match(name))]
        for name, found in places:
            if found["file"].endswith(_TABLE):
                op = found["file"].removesuffix(_TABLE)
                self._versions(found, op)[version(found["version"])] = name
        for name, found in places:
            if found["file"] == "reuse.yaml":
                self._reuse(name, found)
        self._found: dict[str, FoundTable] = {}
        if not self._tables:
            raise MissingTables(f"{label} has no systems/data/<system>/.../vllm/<version> tables")

    def systems(self) -> set[str]:
        """Those that have vLLM tables."""
        return {system for system, library, _ in self._tables if library == "vllm"}

    def find(
        self, system: str, op: str, engine: Version | None, library: str = "vllm"
    ) -> FoundTable:
        """The newest table that is not newer than the engine, else the oldest one.

        ``engine`` None: the newest.  Raises: MissingTables.
        """
        versions = self._tables.get((system, library, op))
        if not versions:
            raise MissingTables(
                f"{self.label} has no {library} table {op!r} for {system!r}; it has vLLM tables for"
                f" {', '.join(sorted(self.systems()))}"
            )
        old_enough = [v for v in versions if engine is None or v <= engine]
        chosen = max(old_enough) if old_enough else min(versions)
        name = versions[chosen]
        if name not in self._found:
            content = self._read(name)
            self._found[name] = FoundTable(
                op=op,
                version=text_of(chosen),
                is_newer_than_engine=not old_enough,
                sha256=sha256(content).hexdigest(),
                rows=read_parquet(content, name),
            )
        return self._found[name]

    def _versions(self, found: re.Match[str], op: str) -> dict[Version, str]:
        return self._tables.setdefault((found["system"], found["library"], op), {})

    def _reuse(self, name: str, found: re.Match[str]) -> None:
        for entry in yaml.safe_load(self._read(name)).get("reuse", ()):
            versions = self._versions(found, entry["table"].removesuffix("_perf"))
            donor = versions.get(version(str(entry["from_version"])))
            if donor is not None:
                versions.setdefault(version(found["version"]), donor)


def open_tables(path: Path | None) -> TableSource:
    """``path``: a wheel, or a folder that has ``systems`` in it; None: the installed package.

    Raises: MissingTables.
    """
    if path is None:
        return _installed()
    if path.is_dir():
        root = path.resolve()
        # The folder may itself be the one called ``systems``, or lie below it.
        base = next((p.parent for p in (root, *root.parents) if p.name == "systems"), root)
        names = {p.relative_to(base).as_posix(): p for p in root.rglob("*") if p.is_file()}
        return TableSource(f"folder {path.name}", list(names), lambda n: names[n].read_bytes())
    try:
        with zipfile.ZipFile(path) as wheel:
            names_inside = wheel.namelist()
    except FileNotFoundError:
        raise MissingTables(f"no such file or folder: {path}") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise MissingTables(f"{path} is neither a folder nor a wheel: {error}") from error

    def read(name: str) -> bytes:
        with zipfile.ZipFile(path) as wheel:
            return wheel.read(name)

    package, number = (*path.name.split("-"), "", "")[:2]
    return TableSource(f"{package.replace('_', '-')} {number}".strip(), names_inside, read)


def _installed() -> TableSource:
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError:
        raise MissingTables(
            f"operator tables come from the package {PACKAGE}: install the extra 'profiles', or"
            " name a folder or wheel with --tables"
        ) from None
    files: Mapping[str, Path] = {
        file.as_posix(): Path(str(file.locate())) for file in package.files or ()
    }
    return TableSource(
        f"{PACKAGE} {package.version}", list(files), lambda name: files[name].read_bytes()
    )
