"""Results that are kept between calls: a cell that was run before is not run again.

The key is the content of all that decides a run: the program, the scenario, the documents and the
trace that it names, and the cell.  So nothing needs to be cleared when any of them changes.
"""

import hashlib
import json
import os
from pathlib import Path

import headway_api
import headway_core
import headway_sim
from headway_cli.compare.grid import Cell
from headway_sim.report import Report
from headway_sim.scenario import Scenario
from headway_sim.scenario.file import config_folder, documents, engine_files
from headway_sim.scenario.sources import files_of


def default_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "headway" / "simulations"


class Store:
    """Files of one scenario's results, named by content."""

    def __init__(self, folder: Path, scenario: Scenario, path: Path) -> None:
        self._folder = folder
        digest = hashlib.sha256(_program())
        digest.update(path.read_bytes())
        for name, content in documents(config_folder(path)).items():
            digest.update(f"{Path(name).name} {len(content)}\n".encode())
            digest.update(content)
        for named in engine_files(path):
            digest.update(named.read_bytes())
        for read in files_of(scenario.workload.source):
            with read.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        self._base = digest.hexdigest()

    def read(self, cell: Cell) -> Report | None:
        """None: it was never run, or its file is damaged."""
        try:
            found = json.loads(self._file(cell).read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def write(self, cell: Cell, report: Report) -> None:
        """As a whole or not at all, also when the program is interrupted."""
        file = self._file(cell)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.tmp")
        partial.write_text(json.dumps(report, sort_keys=True))
        partial.replace(file)

    def _file(self, cell: Cell) -> Path:
        key = f"{self._base} {cell.policy} {cell.rate_per_s} {cell.seed}"
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _program() -> bytes:
    """Digest of every source file that a run executes, and of the profiles that it may load."""
    digest = hashlib.sha256()
    for package in (headway_api, headway_core, headway_sim):
        root = Path(package.__path__[0])
        for file in sorted((*root.rglob("*.py"), *root.rglob("*.npz"))):
            content = file.read_bytes()
            digest.update(f"{file.relative_to(root)} {len(content)}\n".encode())
            digest.update(content)
    return digest.digest()
