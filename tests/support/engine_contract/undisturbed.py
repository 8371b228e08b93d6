"""Experiments that a stall of the machine may spoil: those are taken again, from their start.

Some presume what holds only for a while: that a stream goes on, that a request still waits.  They
check it after they have looked at the engine and before they judge what they saw; a judgement,
once made, counts.
"""

import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, ParamSpec

import pytest

Arguments = ParamSpec("Arguments")

TRIES = 30


class Disturbed(Exception):
    """What the experiment presumed did not hold to its end: what happened instead."""


def presume(holds: bool, otherwise: str) -> None:
    """Raises: Disturbed: unless it holds; ``otherwise`` tells what happened instead."""
    if not holds:
        raise Disturbed(otherwise)


def undisturbed(
    experiment: Callable[Arguments, Awaitable[None]],
) -> Callable[Arguments, Coroutine[Any, Any, None]]:
    """A test that counts as it ends, unless it was disturbed: then it starts again.

    It fails if that happens `TRIES` times, and at once at anything else that it raises.
    """

    @functools.wraps(experiment)
    async def taken(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        reasons: Counter[str] = Counter()
        for _ in range(TRIES):
            try:
                await experiment(*args, **kwargs)
            except* Disturbed as group:
                reasons.update(map(str, _leaves(group)))
            else:
                return
        pytest.fail(f"disturbed in each of {TRIES} tries: {dict(reasons)}")

    return taken


def _leaves(group: BaseExceptionGroup[Disturbed]) -> Iterator[Disturbed]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
