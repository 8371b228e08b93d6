"""The least loaded endpoints by heaps, against a scan of all."""

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from headway_core.backlog import LeastBacklog


def an_index(**backlogs: float) -> LeastBacklog:
    index = LeastBacklog()
    for used, (name, backlog) in enumerate(backlogs.items()):
        index.update(name, "kind", backlog, used)
    return index


def test_the_least_backlog_comes_first() -> None:
    assert an_index(a=3, b=1, c=2).least(2) == ["b", "c"]


def test_ties_go_to_the_least_recently_used() -> None:
    index = an_index(a=1, b=1)
    index.update("a", "kind", 1, 9)
    assert index.least(1) == ["b"]


def test_a_changed_backlog_counts_and_the_old_one_does_not() -> None:
    index = an_index(a=1, b=2)
    index.update("a", "kind", 3, 0)
    assert index.least(2) == ["b", "a"]


def test_asking_changes_nothing() -> None:
    index = an_index(a=1, b=2, c=3)
    assert index.least(2) == index.least(2) == ["a", "b"]
    assert index.least(1, lambda e: e != "a") == ["b"]
    assert index.least(1) == ["a"]


def test_it_gives_up_after_so_many_tries() -> None:
    index = an_index(a=1, b=2, c=3)
    assert index.least(1, lambda e: e == "c", tries=2) == []
    assert index.least(1, lambda e: e == "c", tries=3) == ["c"]


def test_each_kind_has_its_own_least() -> None:
    index = an_index(a=3, b=4)
    index.update("c", "other", 9, 0)
    assert index.least(1) == ["a", "c"]


def test_one_that_changes_its_kind_is_found_there_only() -> None:
    index = an_index(a=3, b=4)
    index.update("a", "other", 3, 0)
    assert index.least(2) == ["b", "a"]


def test_one_that_was_removed_is_not_found() -> None:
    index = an_index(a=3, b=4)
    index.remove("a")
    index.remove("never known")
    assert index.least(2) == ["b"]


def test_memory_is_bounded_however_often_backlogs_change() -> None:
    index, rng = LeastBacklog(), Random(1)
    for i in range(20_000):
        index.update(f"e{i % 10}", "kind", rng.random(), i)
    assert len(index._heaps["kind"]) <= 8 * 10 + 1


def test_kinds_that_are_gone_leave_nothing_behind() -> None:
    index = LeastBacklog()
    for kind in range(1_000):
        index.update("a", kind, 1.0, 0)
        assert index.least(1) == ["a"]
    assert len(index._heaps) == 1


class AgainstAScan(RuleBasedStateMachine):
    names = st.sampled_from("abcdefgh")
    backlogs = st.sampled_from([0.0, 0.5, 1.0, 7.0])

    @initialize()
    def start(self) -> None:
        self.index = LeastBacklog()
        self.known: dict[str, tuple[str, float, float]] = {}

    @rule(name=names, kind=st.sampled_from(["x", "y"]), backlog=backlogs, used=st.integers(0, 3))
    def update(self, name: str, kind: str, backlog: float, used: int) -> None:
        self.index.update(name, kind, backlog, used)
        self.known[name] = (kind, backlog, used)

    @rule(name=names)
    def remove(self, name: str) -> None:
        self.index.remove(name)
        self.known.pop(name, None)

    @rule(count=st.integers(1, 4), admitted=st.sets(names), tries=st.none() | st.integers(1, 5))
    def compare(self, count: int, admitted: set[str], tries: int | None) -> None:
        expected = []
        for kind in ("x", "y"):
            here = sorted((b, u, n) for n, (k, b, u) in self.known.items() if k == kind)
            expected += [n for *_, n in here[:tries] if n in admitted][:count]
        found = self.index.least(count, admitted.__contains__, tries=tries)
        assert sorted(found) == sorted(expected)


TestAgainstAScan = AgainstAScan.TestCase
TestAgainstAScan.settings = settings(max_examples=60, stateful_step_count=40)
