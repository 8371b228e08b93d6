"""Whatever happens, in whatever order: nothing is lost or settled twice, and the sums are right."""

from collections.abc import Iterable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headway_core.errors import DuplicateRequest
from headway_core.estimate.work import NO_WORK, Work
from headway_core.events import (
    BlocksRemoved,
    BlocksStored,
    CacheCleared,
    Cancelled,
    Event,
    Failed,
    Finished,
    FirstToken,
    Scraped,
    Unreachable,
    UsageReported,
)
from headway_core.facts import EndpointState, EngineView, Slo
from headway_core.outcomes import Course, Explanation, Held, Outcome, Placed, Shed
from headway_core.policy import (
    CandidateSet,
    Fleet,
    FlowControl,
    Policy,
    Pool,
    PrefixAffinity,
    QueueOrder,
    SloClass,
)
from headway_core.pool import PoolRouter
from headway_core.testing import a_chain, a_request, a_router, an_endpoint, snapshot

NAMES = "abcde"
CLASSES = (
    SloClass(name="batch", sheddable=True, slo=Slo(ttft_s=1.0), priority=-1),
    SloClass(name="urgent", priority=5, slo=Slo(ttft_s=0.3)),
)

policies = st.builds(
    Policy,
    candidates=st.sampled_from(list(CandidateSet)),
    prefix_affinity=st.sampled_from(list(PrefixAffinity)),
    affinity_probability=st.sampled_from([0.5, 0.9, 1.0]),
    slo_classes=st.just(CLASSES),
    max_attempts=st.integers(1, 2),
    flow_control=st.builds(
        FlowControl,
        enabled=st.sampled_from([True] * 5 + [False]),
        order=st.sampled_from(list(QueueOrder)),
        max_queued_requests=st.sampled_from([1000, 1000, 5, 0]),
        queue_timeout_s=st.sampled_from([30.0, 30.0, 1.0, 0.0]),
    ),
)
endpoints = st.builds(
    an_endpoint,
    st.sampled_from(NAMES),
    prefill_tokens_per_s=st.sampled_from([None, 1_000.0, 10_000.0]),
    weight=st.sampled_from([0.5, 1.0, 3.0]),
    state=st.sampled_from([EndpointState.READY] * 3 + [EndpointState.DRAINING]),
    batch_tokens=st.sampled_from([256, 2048]),
    kv_cache_tokens=st.sampled_from([None, 2_000]),
    group=st.sampled_from(["g", "h"]),
)
classes = st.sampled_from([None, None, "batch", "urgent", "unknown"])
slos = st.sampled_from([None, Slo(ttft_s=0.0), Slo(ttft_s=0.5), Slo(ttft_s=5.0)])


@st.composite
def pools(draw: st.DrawFn, model: str, least_endpoints: int) -> Pool:
    declared = draw(
        st.lists(endpoints, min_size=least_endpoints, max_size=4, unique_by=lambda e: e.endpoint_id)
    )
    return Pool(
        name=f"default/{model}",
        model=model,
        endpoints=tuple(declared),
        slo=draw(slos),
        policy=draw(policies),
    )


first_fleets = pools("m", least_endpoints=2).map(lambda pool: Fleet(pools=(pool,)))
later_fleets = st.one_of(
    first_fleets,
    first_fleets,
    st.tuples(pools("m", least_endpoints=0), pools("n", least_endpoints=1)).map(
        lambda both: Fleet(pools=both)
    ),
    st.just(Fleet()),
)


class RouterUnderRandomEvents(RuleBasedStateMachine):
    """Plays the driver: it knows of each request only what the router has told."""

    @initialize(fleet=first_fleets, seed=st.integers(0, 3))
    def start(self, fleet: Fleet, seed: int) -> None:
        self.now = 0.0
        self.router = a_router(seed=seed)
        self.waiting: set[str] = set()
        self.dispatched: set[str] = set()
        self.arrived = self.ended = self.shed = 0
        self.known: list[str] = ["never seen"]
        self.fleet = fleet
        self.tell(self.router.apply(fleet, self.now))

    def tell(self, outcomes: Iterable[Outcome]) -> None:
        """Outcomes of requests that were held."""
        for outcome in outcomes:
            self.waiting.remove(outcome.request_id)  # KeyError: settled twice, or never held.
            self.check(outcome)
            if isinstance(outcome, Placed):
                self.dispatched.add(outcome.request_id)
            else:
                assert isinstance(outcome, Shed)
                self.shed += 1

    def check(self, outcome: Outcome) -> None:
        decision = outcome.decision
        if decision is None:
            return
        assert abs(sum(decision.chosen.seconds_by_term.values()) - decision.chosen.ttft_s) < 1e-9
        if isinstance(outcome, Placed):
            assert outcome.legs[0].endpoint_id == decision.endpoint_id != outcome.fallback_id

    def check_explanation(self, explained: Explanation, outcome: Outcome) -> None:
        assert explained.decision == outcome.decision
        match outcome:
            case Placed(fallback_id=fallback_id, vllm_priority=vllm_priority):
                # One that joins a queue may be the first whose turn comes.
                assert explained.course in (Course.PLACE, Course.HOLD)
                assert explained.vllm_priority == vllm_priority
                if explained.course is Course.PLACE:
                    assert explained.fallback_id == fallback_id
            case Held():
                assert explained.course is Course.HOLD
            case Shed(reason=reason, retry_after_s=retry_after_s):
                assert explained.course is Course.SHED
                assert (explained.shed_reason, explained.retry_after_s) == (reason, retry_after_s)

    # -- what may happen ---------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 0.0, 0.01, 0.3, 2.0, 40.0, -1.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(fleet=st.none() | later_fleets)
    def change_the_fleet(self, fleet: Fleet | None) -> None:
        """Or apply the same one again."""
        self.fleet = fleet or self.fleet
        self.tell(self.router.apply(self.fleet, self.now))

    @rule(sizes=st.lists(st.integers(0, 20), min_size=1, max_size=8), slo_class=classes)
    def burst(self, sizes: list[int], slo_class: str | None) -> None:
        for blocks in sizes:
            self.place(blocks % 6, blocks, None, "m", None, slo_class, None, None)

    @rule(
        conversation=st.integers(0, 5),
        blocks=st.integers(0, 20),
        prompt_tokens=st.none() | st.sampled_from([0, 1, 3_000, 200_000]),
        model=st.sampled_from(["m", "m", "m", "n", "", "unknown"]),
        slo=slos,
        slo_class=classes,
        priority=st.sampled_from([None, None, -3, 7]),
        allowed=st.none() | st.lists(st.sampled_from(NAMES + "x"), max_size=3),
    )
    def place(
        self,
        conversation: int,
        blocks: int,
        prompt_tokens: int | None,
        model: str,
        slo: Slo | None,
        slo_class: str | None,
        priority: int | None,
        allowed: list[str] | None,
    ) -> None:
        request = a_request(
            request_id=f"r{self.arrived}",
            blocks=a_chain(conversation, blocks),
            prompt_tokens=prompt_tokens,
            model=model,
            slo=slo,
            slo_class=slo_class,
            priority=priority,
            allowed=allowed,
        )
        looks = self.arrived % 16 == 0  # It takes ten times as long as all the rest.
        before = snapshot(self.router) if looks else None
        explained = self.router.explain(request, self.now)
        assert before is None or snapshot(self.router) == before
        outcome = self.router.place(request, self.now)
        self.check_explanation(explained, outcome)
        self.arrived += 1
        self.known.append(request.request_id)
        self.check(outcome)
        match outcome:
            case Placed():
                self.dispatched.add(request.request_id)
            case Held():
                self.waiting.add(request.request_id)
            case Shed():
                self.shed += 1

    @rule(data=st.data())
    def place_again(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(self.known))
        if request_id in self.waiting | self.dispatched:
            try:
                self.router.place(a_request(request_id=request_id), self.now)
            except DuplicateRequest:
                return
            raise AssertionError("an id that is outstanding was accepted")

    @rule(data=st.data(), kind=st.sampled_from([Finished, Failed, Cancelled]))
    def end(self, data: st.DataObject, kind: type[Finished | Failed | Cancelled]) -> None:
        request_id = data.draw(st.sampled_from(self.known))
        if request_id in self.waiting | self.dispatched:
            self.ended += 1
        self.waiting.discard(request_id)
        self.dispatched.discard(request_id)
        self.tell(self.router.observe(kind(request_id), self.now))

    @rule(data=st.data(), by=st.sampled_from([None, *NAMES, "stranger"]))
    def first_token(self, data: st.DataObject, by: str | None) -> None:
        request_id = data.draw(st.sampled_from(self.known))
        self.observe(FirstToken(request_id, by))

    @rule(data=st.data(), cached=st.sampled_from([None, 0, 500]))
    def usage(self, data: st.DataObject, cached: int | None) -> None:
        self.observe(UsageReported(data.draw(st.sampled_from(self.known)), 1_000, cached))

    @rule(
        event=st.one_of(
            st.builds(
                Scraped,
                st.sampled_from(NAMES),
                st.builds(
                    EngineView,
                    waiting=st.none() | st.integers(0, 5),
                    kv_cache_tokens=st.none() | st.sampled_from([0, 1_000]),
                ),
            ),
            st.builds(Unreachable, st.sampled_from(NAMES)),
            st.builds(CacheCleared, st.sampled_from(NAMES)),
            st.builds(
                BlocksStored,
                st.sampled_from(NAMES),
                st.integers(0, 20).map(lambda blocks: a_chain(1, blocks)),
                st.just(256),
            ),
            st.builds(
                BlocksRemoved,
                st.sampled_from(NAMES),
                st.integers(0, 20).map(lambda first: a_chain(1, 20)[first:]),
            ),
        )
    )
    def observe(self, event: Event) -> None:
        self.tell(self.router.observe(event, self.now))

    @rule()
    def tick(self) -> None:
        self.tell(self.router.tick(self.now))

    @precondition(lambda self: self.router.next_deadline() is not None)
    @rule()
    def wait_until_something_is_due(self) -> None:
        due = self.router.next_deadline()
        assert due is not None
        self.now = max(self.now, due)
        self.tick()

    # -- what must hold ----------------------------------------------------------------------

    @invariant()
    def every_request_is_accounted_for(self) -> None:
        in_router = self.waiting | self.dispatched
        assert self.router._tracked.keys() == in_router
        assert self.arrived == self.ended + self.shed + len(in_router)
        untold = len(self.router._settled)
        assert self.router.held + untold == len(self.waiting)
        assert self.router.leases_outstanding == len(self.dispatched) + untold

    @invariant()
    def sums_are_those_of_the_requests(self) -> None:
        pools = {id(p): p for p, _ in self.router._tracked.values()}
        pools |= {id(p): p for p in self.router._pools.values()}
        for pool in pools.values():
            self._check_pool(pool)

    def _check_pool(self, pool: PoolRouter) -> None:
        state = pool.state
        here = [t for p, t in self.router._tracked.values() if p is pool]
        assert state.held == sum(len(queue) for queue in state.queues.values())
        assert state.held == sum(t.held is not None for t in here)
        for endpoint_id, queue in state.queues.items():
            held = [t for t in here if t.held and t.held.endpoint_id == endpoint_id]
            assert {t.request_id for t in queue} == {t.request_id for t in held}
            assert queue.work == Work(
                sum(t.held_work.tokens for t in held), sum(t.held_work.pairs for t in held)
            )
            sent = [
                t.dispatched
                for t in here
                if t.dispatched and t.dispatched.endpoint_id == endpoint_id
            ]
            load = state.ledger.loads[endpoint_id]
            assert load.leases == len(sent)
            waiting = [s for s in sent if s.lease.lease_id in load.unprefilled]
            assert load.work.tokens == sum(s.work.tokens for s in waiting)
            if not held:
                assert queue.work == NO_WORK
            elif pool.pool.policy.flow_control.enabled:
                assert load.unprefilled, "nobody waits for an engine that has nothing to prefill"
            else:
                raise AssertionError("nobody waits where holding is off")

    @invariant()
    def whoever_waits_is_waited_for(self) -> None:
        if self.waiting:
            assert self.router.next_deadline() is not None

    def teardown(self) -> None:
        """Nothing more happens: all that is held is settled, and the waiting comes to an end."""
        if not hasattr(self, "router"):
            return
        for _ in range(5_000):
            due = self.router.next_deadline()
            if due is None:
                break
            self.now = max(self.now, due)
            self.tell(self.router.tick(self.now))
        else:
            raise AssertionError("still something due after 5,000 ticks")
        assert not self.waiting
        for request_id in list(self.dispatched):
            self.router.observe(Finished(request_id), self.now)
        assert (self.router.leases_outstanding, self.router.held) == (0, 0)
        assert not self.router._tracked
        self.router.apply(Fleet(), self.now)
        assert self.router.next_deadline() is None


TestRouterUnderRandomEvents = RouterUnderRandomEvents.TestCase
TestRouterUnderRandomEvents.settings = settings(max_examples=150, stateful_step_count=50)
