"""Immutable values at the price of mutable ones.

A frozen dataclass assigns each of its fields through ``object.__setattr__``, which takes four times
as long, and a request makes thirty such objects.  What is declared with ``value`` is frozen for the
type checker, which is part of ``make check``, and has the equality and the hash of a frozen
dataclass; at run time nothing stops an assignment.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, dataclass_transform, overload

_T = TypeVar("_T")


@overload
def value(cls: type[_T], /) -> type[_T]: ...


@overload
def value(*, kw_only: bool) -> Callable[[type[_T]], type[_T]]: ...


@dataclass_transform(frozen_default=True)
def value(
    cls: type[_T] | None = None, /, *, kw_only: bool = False
) -> type[_T] | Callable[[type[_T]], type[_T]]:
    """Like ``dataclass(frozen=True, slots=True)``, for what is made with every request."""

    def made(cls: type[_T]) -> type[_T]:
        return dataclass(slots=True, unsafe_hash=True, kw_only=kw_only)(cls)

    return made if cls is None else made(cls)
