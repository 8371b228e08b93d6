"""The held queue of one endpoint: whose turn it is, and what a newcomer would wait for."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headway_core.estimate.work import NO_WORK, Work
from headway_core.policy import QueueOrder
from headway_core.queueing.held import OLDEST_EVERY, HeldQueue
from headway_core.queueing.orders import is_late
from headway_core.testing import a_tracked
from headway_core.tracking import Tracked


def a_queue(*entries: Tracked) -> HeldQueue:
    queue = HeldQueue()
    for entry in entries:
        queue.add(entry)
    return queue


def turns(queue: HeldQueue, order: QueueOrder, now: float = 0.0, count: int = 1000) -> list[str]:
    """Dispatch up to so many; their ids in order."""
    served: list[str] = []
    while len(served) < count and (entry := queue.next_entry(order, now)):
        queue.dispatched(entry)
        served.append(entry.request_id)
    return served


def test_an_empty_queue_has_no_next() -> None:
    assert HeldQueue().next_entry(QueueOrder.TRIAGE, 0.0) is None
    assert not HeldQueue()


def test_looking_whose_turn_it_is_takes_nothing_out() -> None:
    queue = a_queue(a_tracked("a"), a_tracked("b"))
    assert queue.next_entry(QueueOrder.FCFS, 0.0) is queue.next_entry(QueueOrder.FCFS, 0.0)
    assert len(queue) == 2


def test_they_go_in_their_order() -> None:
    queue = a_queue(a_tracked("long", tokens=900), a_tracked("short", tokens=100))
    assert turns(queue, QueueOrder.SRPT) == ["short", "long"]
    assert len(queue) == 0
    assert queue.work == NO_WORK


def test_one_that_leaves_before_its_turn_has_none() -> None:
    gone, stays = a_tracked("gone"), a_tracked("stays")
    queue = a_queue(gone, stays)
    assert queue.discard(gone)
    assert not queue.discard(gone)
    assert turns(queue, QueueOrder.FCFS) == ["stays"]


@pytest.mark.parametrize("order", [QueueOrder.TRIAGE, QueueOrder.EDF])
def test_one_that_cannot_make_it_goes_behind_those_that_can(order: QueueOrder) -> None:
    late = a_tracked("late", tokens=10, ttft_s=1.0, prefill_s=0.1)
    queue = a_queue(late, a_tracked("on time", tokens=5000, ttft_s=60.0, arrived=1.0))
    assert turns(queue, order, now=2.0) == ["on time", "late"]


@pytest.mark.parametrize("order", [QueueOrder.FCFS, QueueOrder.SRPT, QueueOrder.HIT_FIRST])
def test_other_orders_do_not_ask_whether_it_can_make_it(order: QueueOrder) -> None:
    late = a_tracked("late", tokens=10, hit_tokens=9, ttft_s=1.0)
    queue = a_queue(late, a_tracked("on time", tokens=5000, ttft_s=60.0, arrived=1.0))
    assert turns(queue, order, now=2.0) == ["late", "on time"]


def test_the_late_go_by_priority_and_then_by_age() -> None:
    queue = a_queue(
        a_tracked("young", ttft_s=1.0, arrived=1.0, tokens=1),
        a_tracked("old", ttft_s=1.0, arrived=0.0, tokens=9),
        a_tracked("important", ttft_s=1.0, arrived=2.0, priority=1),
    )
    assert turns(queue, QueueOrder.TRIAGE, now=50.0) == ["important", "old", "young"]


def test_an_order_that_changes_takes_the_late_back_into_line() -> None:
    late = a_tracked("late", tokens=10, ttft_s=1.0)
    queue = a_queue(late, a_tracked("on time", arrived=1.0, ttft_s=99.0))
    queue.next_entry(QueueOrder.TRIAGE, 5.0)
    assert turns(queue, QueueOrder.FCFS, now=5.0) == ["late", "on time"]


def test_every_eighth_turn_is_the_oldest_s() -> None:
    """Short requests keep arriving; the long one would never have its turn."""
    queue = a_queue(a_tracked("long", tokens=9000))
    served = []
    for i in range(OLDEST_EVERY):
        queue.add(a_tracked(f"short {i}", tokens=10, arrived=1.0 + i))
        served += turns(queue, QueueOrder.SRPT, count=1)
    assert served.index("long") == OLDEST_EVERY - 1


def test_of_the_late_the_oldest_gets_every_eighth_turn() -> None:
    queue = a_queue(a_tracked("late", ttft_s=0.1, arrived=5.0))
    served = []
    for i in range(OLDEST_EVERY):
        queue.add(a_tracked(f"on time {i}", arrived=1.0, ttft_s=99.0))
        served += turns(queue, QueueOrder.TRIAGE, now=9.0, count=1)
    assert served.index("late") == OLDEST_EVERY - 1


def test_all_in_order_is_the_order_of_turns() -> None:
    entries = [a_tracked(f"r{i}", tokens=100 * (i % 5 + 1), ttft_s=i % 3 + 0.5) for i in range(7)]
    for order in QueueOrder:
        listed = [e.request_id for e in a_queue(*entries).in_order(order, 1.0)]
        assert turns(a_queue(*entries), order, now=1.0) == listed


# -- what a newcomer would wait for ----------------------------------------------------------

WAITING = [
    a_tracked("important", tokens=700, priority=1, ttft_s=60.0),
    a_tracked("short", tokens=100, ttft_s=60.0),
    a_tracked("long", tokens=3000, ttft_s=60.0),
    a_tracked("unimportant", tokens=20, priority=-1, ttft_s=60.0),
    a_tracked("late", tokens=50, ttft_s=0.1),
]


@pytest.mark.parametrize(
    ("order", "tokens", "priority", "ahead"),
    [
        pytest.param(QueueOrder.TRIAGE, 200, 0, 700 + 100, id="the important and the shorter"),
        pytest.param(QueueOrder.TRIAGE, 5000, 0, 700 + 100 + 3000, id="all on time if it is long"),
        pytest.param(QueueOrder.SRPT, 200, 0, 700 + 100 + 50, id="the late too, without triage"),
        pytest.param(QueueOrder.EDF, 200, 0, 700 + 100 + 3000, id="all on time"),
        pytest.param(QueueOrder.FCFS, 1, 0, 700 + 100 + 3000 + 50, id="all that came before"),
        pytest.param(QueueOrder.TRIAGE, 200, 2, 0, id="nobody, being more important than all"),
        pytest.param(QueueOrder.FCFS, 200, 1, 700, id="equals, being more important than the rest"),
    ],
)
def test_work_ahead_of_a_newcomer(
    order: QueueOrder, tokens: int, priority: int, ahead: int
) -> None:
    queue = a_queue(*WAITING)
    queue.next_entry(order, now=1.0)
    assert queue.ahead(order, priority, tokens).tokens == ahead


entries = st.builds(
    a_tracked,
    tokens=st.integers(1, 20_000),
    priority=st.integers(0, 1),
    ttft_s=st.just(1e9),
)


@given(
    st.lists(entries, max_size=12),
    st.sampled_from([QueueOrder.FCFS, QueueOrder.SRPT, QueueOrder.EDF]),
    st.integers(1, 20_000),
    st.integers(0, 1),
)
def test_work_ahead_is_what_goes_before_it_up_to_those_of_about_its_size(
    waiting: Sequence[Tracked], order: QueueOrder, tokens: int, priority: int
) -> None:
    queue = a_queue(*waiting)
    ahead = queue.ahead(order, priority, tokens).tokens
    newcomer = a_tracked("new", tokens=tokens, priority=priority, ttft_s=1e9)
    queue.add(newcomer)
    in_order = queue.in_order(order, 0.0)
    before = in_order[: in_order.index(newcomer)]
    about_its_size = [
        e for e in waiting if e.priority == priority and tokens < e.held_work.tokens < 2 * tokens
    ]
    exact = sum(e.held_work.tokens for e in before)
    if order is QueueOrder.EDF:  # Those that must start later do not go first, but are counted.
        assert exact <= ahead
    else:
        assert exact <= ahead <= exact + sum(e.held_work.tokens for e in about_its_size)


class Sums(RuleBasedStateMachine):
    """Whatever comes and goes, in whatever order: the sums are those of who is there."""

    @initialize()
    def start(self) -> None:
        self.queue, self.now, self.there = HeldQueue(), 0.0, dict[str, Tracked]()

    @rule(
        tokens=st.integers(1, 10**6),
        ttft_s=st.sampled_from([None, 0.0, 1.0, 10.0]),
        priority=st.integers(-1, 1),
    )
    def add(self, tokens: int, ttft_s: float | None, priority: int) -> None:
        entry = a_tracked(tokens=tokens, ttft_s=ttft_s, priority=priority, arrived=self.now)
        self.queue.add(entry)
        self.there[entry.request_id] = entry

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.there)))
        assert self.queue.discard(self.there.pop(name))

    @rule(order=st.sampled_from(list(QueueOrder)))
    def dispatch(self, order: QueueOrder) -> None:
        entry = self.queue.next_entry(order, self.now)
        assert (entry is None) == (not self.there)
        if entry is not None:
            self.queue.dispatched(entry)
            del self.there[entry.request_id]

    @rule(seconds=st.sampled_from([0.0, 0.5, 5.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def sums_match(self) -> None:
        assert len(self.queue) == len(self.there)
        assert {e.request_id for e in self.queue} == self.there.keys()
        everyone = [e.held_work for e in self.there.values()]
        assert self.queue.work == Work(
            sum(w.tokens for w in everyone), sum(w.pairs for w in everyone)
        )

    @rule()
    def nobody_on_time_is_counted_twice_or_not_at_all(self) -> None:
        self.queue.next_entry(QueueOrder.TRIAGE, self.now)
        on_time = [e for e in self.there.values() if not is_late(e, self.now)]
        ahead = self.queue.ahead(QueueOrder.EDF, -2, 1)
        assert ahead.tokens == sum(e.held_work.tokens for e in on_time)


TestSums = Sums.TestCase
TestSums.settings = settings(max_examples=50, stateful_step_count=40)
