"""Reads the documents of a folder: its own ``.yaml`` and ``.yml`` files, hidden ones left out.

Sub-folders are not read.  A mounted ConfigMap, whose files are links into a hidden folder that is
swapped as a whole, is an ordinary folder here.
"""

import hashlib
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import headway_api
from headway_api import Document, Problem

SUFFIXES = (".yaml", ".yml")
MAX_FILE_BYTES = 4 * 2**20
"""Four times the largest ConfigMap."""
MAX_FILES = 1000


@dataclass(frozen=True, slots=True)
class Contents:
    """What was in the folder at one moment; ``digest`` tells one content from another."""

    folder: str
    files: Mapping[str, bytes]
    problems: tuple[Problem, ...]
    digest: str

    def documents(self) -> tuple[Document, ...]:
        """Raises: ``InvalidDocuments`` with every problem of the folder."""
        return headway_api.read(self.files, origin=self.folder, problems=self.problems)


def scan(folder: Path) -> Contents:
    """Read the folder.  Files that cannot be read are problems, never errors."""
    files: dict[str, bytes] = {}
    problems: list[Problem] = []
    try:
        paths = sorted(p for p in folder.iterdir() if _is_configuration(p))
    except OSError as error:
        paths = []
        problems.append(Problem(file=_shown(folder), problem=f"cannot be read: {error.strerror}"))
    for path in paths[:MAX_FILES]:
        content = _content(path)
        if isinstance(content, Problem):
            problems.append(content)
        elif content is not None:
            files[_shown(path)] = content
    if len(paths) > MAX_FILES:
        what = f"has {len(paths)} files of documents"
        problems.append(Problem(file=_shown(folder), problem=what, allowed=f"{MAX_FILES} at most"))
    return Contents(_shown(folder), files, tuple(problems), _digest(files, problems))


def _shown(path: Path) -> str:
    """On one line and in UTF-8, whatever the file is called."""
    name = str(path)
    return name if name.isprintable() else ascii(name)


def _is_configuration(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _content(path: Path) -> bytes | Problem | None:
    """None: a sub-folder."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return None
        if not stat.S_ISREG(mode):  # opening a pipe would wait for its writer
            return Problem(file=_shown(path), problem="is not a regular file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return Problem(file=_shown(path), problem=f"cannot be read: {error.strerror}")
    if len(content) > MAX_FILE_BYTES:
        return Problem(file=_shown(path), problem="is too large", allowed=f"{MAX_FILE_BYTES} bytes")
    return content


def _digest(files: Mapping[str, bytes], problems: list[Problem]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\n{len(files[name])}\n".encode())
        digest.update(files[name])
    for problem in problems:
        digest.update(str(problem).encode())
    return digest.hexdigest()
