"""What one field of an object demands of another: said once, for Python and for the API server."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule of the object that declares it in ``rules``."""

    field: str
    """Of the object, as users write it: where the message belongs."""
    problem: str
    """What is wrong with the field."""
    allowed: str
    """What would be right."""
    cel: str
    """The rule in the Common Expression Language; ``self`` is the object.  The API server tries it
    on the object's own ``default: {}`` too, before the fields' defaults are filled in."""
    holds: Callable[[Any], bool] | None = None
    """The rule in Python, of the parsed object.  None: it is about a change, so only the API
    server, which knows the old object (``oldSelf``), can tell."""

    def validation(self) -> dict[str, str]:
        """An entry of ``x-kubernetes-validations``."""
        return {
            "fieldPath": f".{self.field}",
            "message": f"{self.problem}; allowed: {self.allowed}",
            "rule": self.cel,
        }


def broken(model: Any, rules: tuple[Rule, ...]) -> Iterator[Rule]:
    yield from (rule for rule in rules if rule.holds is not None and not rule.holds(model))
