"""Errors of the router process.

RouterError
`-- InvalidSettings     a flag or a variable: the user must act
"""

from collections.abc import Sequence


class RouterError(Exception):
    """Any error of this package."""


class InvalidSettings(RouterError):
    """``problems``: one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)
