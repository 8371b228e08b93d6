"""Instants with names: in order, forgotten when nobody waits any more."""

from headway_core.timers import Timers


def timers(**instants: float) -> Timers:
    made = Timers()
    for name, when in instants.items():
        made.at(when, name)
    return made


def test_what_is_due_comes_in_the_order_of_its_instants() -> None:
    waiting = timers(late=3.0, early=1.0, later=9.0)
    assert waiting.pop_due(3.0) == ["early", "late"]
    assert waiting.pop_due(3.0) == []


def test_of_one_instant_the_first_set_comes_first() -> None:
    assert timers(b=1.0, a=1.0).pop_due(1.0) == ["b", "a"]


def test_the_next_instant_is_that_of_one_who_still_waits() -> None:
    waiting = timers(dead=1.0, alive=2.0)
    assert waiting.next_due(lambda name: name == "alive") == 2.0


def test_those_who_wait_no_more_are_forgotten() -> None:
    waiting = timers(a=1.0, b=2.0)
    assert waiting.next_due(lambda name: False) is None
    assert waiting.pop_due(9.0) == []
