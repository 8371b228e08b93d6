"""Every error this package raises on purpose.

ApiError
└── InvalidDocuments    the documents do not make a configuration; holds every ``Problem``
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to put right, and where: ``file:line: field: problem; allowed: ...``."""

    file: str
    line: int | None = None
    """From 1.  None: the file as a whole, or a resource that was never text."""
    field: str | None = None
    """``spec.groups[0].endpoints[1].port``.  None: no field can be named."""
    problem: str
    allowed: str | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        what = self.problem if self.field is None else f"{self.field}: {self.problem}"
        return f"{place}: {what}" + (f"; allowed: {self.allowed}" if self.allowed else "")


class ApiError(Exception):
    """The documents that users wrote cannot be used."""


class InvalidDocuments(ApiError):
    """Nothing was compiled.  ``problems`` has all of them, by file and line; never empty."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.file, p.line or 0)))
        super().__init__("\n".join(map(str, self.problems)))
