"""What a core was asked and what it answered, as values: to be written down, read and replayed.

A recording is complete, or a sample: then it has the calls that settled sampled requests, and the
first tokens and ends of those.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from types import NoneType
from typing import get_args

from headway_core.events import Cancelled, Event, Failed, Finished, FirstToken, UsageReported
from headway_core.facts import InferenceRequest
from headway_core.outcomes import Held, Outcome, Placed, Shed
from headway_core.policy import Fleet
from headway_core.router import Router

Argument = Fleet | InferenceRequest | Event

ARGUMENTS: dict[str, type[Argument | None]] = {
    "apply": Fleet,
    "place": InferenceRequest,
    "tick": NoneType,
    **{event.__name__: event for event in get_args(Event)},
}
"""What each call is named in a recording, and its argument; events stand for ``observe``."""

OUTCOMES: dict[str, type[Outcome]] = {"placed": Placed, "held": Held, "shed": Shed}
"""What each outcome is named."""

_CALL_NAMES = {argument: name for name, argument in ARGUMENTS.items()}
_OUTCOME_NAMES = {outcome: name for name, outcome in OUTCOMES.items()}


@dataclass(frozen=True, slots=True)
class Call:
    """``argument`` None: a tick."""

    at_s: float
    """The core's ``now``."""
    argument: Argument | None
    outcomes: tuple[Outcome, ...]
    """In a sample only those of sampled requests."""

    @property
    def name(self) -> str:
        """A key of ``ARGUMENTS``."""
        return _CALL_NAMES[type(self.argument)]

    def fields(self) -> dict[str, object]:
        """A line of a recording; arguments and outcomes are written as their own fields."""
        outcomes = [{_OUTCOME_NAMES[type(outcome)]: outcome} for outcome in self.outcomes]
        return {
            "call": self.name,
            "at_s": self.at_s,
            "argument": self.argument,
            "outcomes": outcomes,
        }


class Recorded(Router):
    """A core that tells of its calls.

    ``is_wanted`` chooses the requests of a sample, by their first outcome; None: every call is
    told, which is what a replay needs.
    """

    def __init__(
        self,
        rng: Random,
        tell: Callable[[Call], None],
        is_wanted: Callable[[Outcome], bool] | None = None,
    ) -> None:
        super().__init__(rng)
        self._tell = tell
        self._is_wanted = is_wanted
        self._followed: set[str] = set()
        """Sampled requests that have not ended."""

    def apply(self, fleet: Fleet, now: float) -> Sequence[Outcome]:
        return self._told(now, fleet, super().apply(fleet, now))

    def place(self, request: InferenceRequest, now: float) -> Outcome:
        outcome = super().place(request, now)
        if self._is_wanted is None:
            self._tell(Call(now, request, (outcome,)))
        elif self._is_wanted(outcome):
            if not isinstance(outcome, Shed):
                self._followed.add(outcome.request_id)
            self._tell(Call(now, request, (outcome,)))
        return outcome

    def observe(self, event: Event, now: float) -> Sequence[Outcome]:
        outcomes = super().observe(event, now)
        if self._is_wanted is None or outcomes or self._followed:
            self._told(now, event, outcomes)
        return outcomes

    def tick(self, now: float) -> Sequence[Outcome]:
        return self._told(now, None, super().tick(now))

    def _told(
        self, now: float, argument: Argument | None, outcomes: Sequence[Outcome]
    ) -> Sequence[Outcome]:
        if self._is_wanted is None:
            self._tell(Call(now, argument, tuple(outcomes)))
        elif self._followed:
            wanted = tuple(o for o in outcomes if o.request_id in self._followed)
            if wanted or self._is_followed(argument):
                self._tell(Call(now, argument, wanted))
            self._forget(argument, wanted)
        return outcomes

    def _is_followed(self, argument: Argument | None) -> bool:
        match argument:
            case FirstToken() | UsageReported() | Finished() | Failed() | Cancelled():
                return argument.request_id in self._followed
        return False

    def _forget(self, argument: Argument | None, outcomes: Iterable[Outcome]) -> None:
        """Those that have ended."""
        if isinstance(argument, Finished | Failed | Cancelled):
            self._followed.discard(argument.request_id)
        self._followed.difference_update(o.request_id for o in outcomes if isinstance(o, Shed))
