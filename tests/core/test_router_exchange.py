"""One request from arrival to end: its lease, its charge, and what is learned from it."""

from collections.abc import Callable

import pytest

from headway_core.errors import DuplicateRequest
from headway_core.events import (
    BlocksStored,
    Cancelled,
    Event,
    Failed,
    Finished,
    FirstToken,
    Scraped,
    Unreachable,
    UsageReported,
)
from headway_core.facts import EngineView, Slo
from headway_core.outcomes import Held, Outcome, Placed, Shed, ShedReason
from headway_core.policy import Fleet, Policy, PrefixAffinity, SloClass
from headway_core.router import Router
from headway_core.testing import BLOCK_TOKENS, a_chain, a_pool, a_request, a_router

SLO = Slo(ttft_s=5.0)


def placed(outcome: Outcome) -> Placed:
    assert isinstance(outcome, Placed)
    return outcome


def rate_of(router: Router, endpoint: str, now: float) -> float:
    """Predicted seconds for 1,000 cold tokens there."""
    request = a_request(prompt_tokens=1000, allowed=[endpoint])
    outcome = placed(router.place(request, now))
    router.observe(Cancelled(request.request_id), now)
    return outcome.decision.chosen.seconds_by_term["prefill"]


# -- the answer ------------------------------------------------------------------------------


def test_the_answer_names_endpoint_lease_and_what_it_was_predicted_to_take() -> None:
    router = a_router(a_pool("ab", slo=SLO, policy=Policy(content_hash="v7")))
    answer = placed(router.place(a_request(blocks=a_chain(1, 8)), 0.0))
    (leg,) = answer.legs
    assert leg.endpoint_id == answer.decision.endpoint_id == answer.decision.chosen.endpoint_id
    assert leg.lease.prefill_tokens == 8 * BLOCK_TOKENS + 1
    assert leg.lease.prefill_s == answer.decision.chosen.seconds_by_term["prefill"]
    assert answer.decision.policy_hash == "v7"
    assert answer.decision.pool == "default/m"


@pytest.mark.parametrize("blocks", [0, 8])
def test_the_seconds_of_every_candidate_sum_to_its_ttft(blocks: int) -> None:
    router = a_router(a_pool("abcd", slo=SLO))
    for e in "abcd":
        router.observe(Scraped(e, EngineView(waiting=2)), 0.0)
    decisions = 0
    for i in range(60):
        outcome = router.place(a_request(blocks=a_chain(i % 9, blocks)), i / 50)
        assert not isinstance(outcome, Shed)
        for candidate in outcome.decision.candidates:
            total = sum(candidate.seconds_by_term.values())
            assert candidate.ttft_s == pytest.approx(total)
            assert all(seconds >= 0 for seconds in candidate.seconds_by_term.values())
            decisions += 1
    assert decisions >= 60


def test_a_fallback_is_named_that_is_not_the_chosen_one() -> None:
    answer = placed(a_router(a_pool("ab")).place(a_request(), 0.0))
    assert {answer.decision.endpoint_id, answer.fallback_id} == set("ab")


@pytest.mark.parametrize(
    "router",
    [
        pytest.param(a_router(a_pool("a")), id="there is no other"),
        pytest.param(
            a_router(a_pool("ab", policy=Policy(max_attempts=1))), id="one attempt is the policy"
        ),
    ],
)
def test_no_fallback(router: Router) -> None:
    assert placed(router.place(a_request(), 0.0)).fallback_id is None


def test_a_fallback_that_has_gone_while_the_request_was_held_is_not_named() -> None:
    router = a_router(a_pool("abc"))
    blocks = a_chain(1, 40)
    pair = placed(router.place(a_request(blocks=blocks), 0.0)).decision.candidates
    outcomes = [router.place(a_request(blocks=blocks + a_chain(i, 40)), 0.0) for i in range(9)]
    held = next(o for o in outcomes if isinstance(o, Held))
    other = next(c.endpoint_id for c in pair if c.endpoint_id != held.decision.endpoint_id)
    router.observe(Unreachable(other), 0.1)
    settled: list[Outcome] = []
    while len(settled) < 20 and (due := router.next_deadline()) is not None:
        settled += router.tick(due)
    assert settled
    assert all(o.fallback_id != other for o in settled if isinstance(o, Placed))


def test_a_fallback_costs_nothing_unless_it_is_used() -> None:
    router = a_router(a_pool("ab"))
    answer = placed(router.place(a_request(), 0.0))
    assert answer.fallback_id is not None
    assert router.leases_at(answer.fallback_id) == 0


def test_the_priority_of_its_class_goes_to_the_engine() -> None:
    urgent = SloClass(name="urgent", vllm_priority=-5)
    router = a_router(a_pool("a", policy=Policy(slo_classes=(urgent,))))
    assert placed(router.place(a_request(slo_class="urgent"), 0.0)).vllm_priority == -5
    assert placed(router.place(a_request(slo_class="unknown"), 0.0)).vllm_priority is None


# -- targets ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_request", "of_class", "of_pool", "expected"),
    [
        (Slo(ttft_s=1.0), Slo(ttft_s=2.0), Slo(ttft_s=3.0), 1.0),
        (None, Slo(ttft_s=2.0), Slo(ttft_s=3.0), 2.0),
        (None, None, Slo(ttft_s=3.0), 3.0),
        (None, None, None, None),
        (None, None, Slo(ttft_s=1.0, ttft_s_per_1k_tokens=0.5), 1.0 + 0.05),
    ],
    ids=["the request's own", "else its class's", "else its pool's", "else none", "by length"],
)
def test_the_target(
    of_request: Slo | None, of_class: Slo | None, of_pool: Slo | None, expected: float | None
) -> None:
    policy = Policy(slo_classes=(SloClass(name="c", slo=of_class),))
    router = a_router(a_pool("a", policy=policy, slo=of_pool))
    request = a_request(slo=of_request, slo_class="c")
    router.place(request, 0.0)
    assert router._tracked[request.request_id][1].ttft_s == pytest.approx(expected)


def test_without_a_target_no_probability_is_claimed() -> None:
    answer = placed(a_router(a_pool("ab")).place(a_request(blocks=a_chain(1, 8)), 0.0))
    assert all(c.slo_probability is None for c in answer.decision.candidates)


# -- which pool ------------------------------------------------------------------------------


def test_a_model_nobody_serves_is_refused_for_good() -> None:
    shed = a_router(a_pool("a")).place(a_request(model="other"), 0.0)
    assert shed == Shed(shed.request_id, ShedReason.UNKNOWN_MODEL)


def test_no_model_means_the_only_pool() -> None:
    assert isinstance(a_router(a_pool("a")).place(a_request(model=""), 0.0), Placed)


def test_no_model_means_nothing_where_there_are_two_pools() -> None:
    router = a_router(a_pool("a"), a_pool("b", name="default/n", model="n"))
    shed = router.place(a_request(model=""), 0.0)
    assert isinstance(shed, Shed)
    assert shed.reason is ShedReason.UNKNOWN_MODEL


def test_a_model_that_moves_to_another_pool_is_served_there() -> None:
    router = a_router(a_pool("a"))
    router.apply(Fleet(pools=(a_pool("b", name="default/other"),)), 1.0)
    assert placed(router.place(a_request(), 1.0)).decision.pool == "default/other"


# -- identity --------------------------------------------------------------------------------


def test_an_id_that_is_outstanding_is_refused() -> None:
    router = a_router(a_pool("a"))
    router.place(a_request(request_id="x"), 0.0)
    with pytest.raises(DuplicateRequest, match="'x'"):
        router.place(a_request(request_id="x"), 0.0)


def test_an_id_may_be_used_again_after_its_end_or_refusal() -> None:
    router = a_router(a_pool("a"))
    router.place(a_request(request_id="x"), 0.0)
    router.observe(Finished("x"), 1.0)
    router.place(a_request(request_id="x", model="unknown"), 2.0)
    assert isinstance(router.place(a_request(request_id="x"), 3.0), Placed)
    assert router.leases_outstanding == 1


# -- events ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        FirstToken("nobody"),
        UsageReported("nobody", 1, 1),
        Finished("nobody"),
        Failed("nobody"),
        Cancelled("nobody"),
        Scraped("nowhere", EngineView()),
        Unreachable("nowhere"),
        BlocksStored("nowhere", (1,), 256),
    ],
    ids=lambda event: type(event).__name__,
)
def test_events_about_the_unknown_are_counted_and_ignored(event: Event) -> None:
    router = a_router(a_pool("a"))
    assert router.observe(event, 0.0) == ()
    assert router.ignored_events == {type(event).__name__: 1}


def test_events_that_come_twice_change_nothing_the_second_time() -> None:
    router = a_router(a_pool("a"))
    request = a_request()
    router.place(request, 0.0)
    for _ in range(2):
        router.observe(FirstToken(request.request_id, "a"), 0.1)
    learned = rate_of(router, "a", 0.1)
    router.observe(FirstToken(request.request_id, "a"), 9.0)
    assert rate_of(router, "a", 9.0) == learned
    for _ in range(3):
        router.observe(Finished(request.request_id), 9.1)
    assert router.leases_outstanding == 0
    assert router.ignored_events["Finished"] == 2


def test_first_tokens_teach_the_rate() -> None:
    router = a_router(a_pool("a"))
    for i in range(50):
        request = a_request(prompt_tokens=1000)
        router.place(request, float(i))
        router.observe(FirstToken(request.request_id, "a"), i + 0.4)
        router.observe(Finished(request.request_id), i + 0.5)
    assert rate_of(router, "a", 60.0) == pytest.approx(0.4, rel=0.1)


@pytest.mark.parametrize("served_by", ["other", "10.9.9.9:1"], ids=["fallback", "stranger"])
def test_an_answer_from_elsewhere_teaches_nothing_about_the_chosen_one(served_by: str) -> None:
    router = a_router(a_pool(["chosen", "other"]))
    before = rate_of(router, "chosen", 0.0)
    for i in range(50):
        request = a_request(prompt_tokens=1000, allowed=["chosen"])
        router.place(request, float(i))
        router.observe(FirstToken(request.request_id, served_by), i + 0.4)
        router.observe(Finished(request.request_id), i + 0.5)
    assert rate_of(router, "chosen", 60.0) == before


def test_the_charge_follows_to_who_answered() -> None:
    router = a_router(a_pool("ab"))
    request = a_request(blocks=a_chain(1, 8))
    answer = placed(router.place(request, 0.0))
    chosen, fallback = answer.decision.endpoint_id, answer.fallback_id
    assert fallback is not None
    router.observe(FirstToken(request.request_id, fallback), 0.5)
    assert (router.leases_at(chosen), router.leases_at(fallback)) == (0, 1)
    follow_up = placed(router.place(a_request(blocks=a_chain(1, 9), allowed=[fallback]), 1.0))
    assert follow_up.decision.chosen.hit_tokens == 8 * BLOCK_TOKENS
    router.observe(Finished(request.request_id), 2.0)
    assert router.leases_at(fallback) == 1


def test_an_answer_from_a_stranger_leaves_the_charge_until_the_end() -> None:
    router = a_router(a_pool("ab"))
    request = a_request(allowed=["a"])
    router.place(request, 0.0)
    router.observe(FirstToken(request.request_id, "10.9.9.9:1"), 0.5)
    assert router.leases_at("a") == 1
    router.observe(Finished(request.request_id), 1.0)
    assert router.leases_outstanding == 0


def test_reported_cached_tokens_correct_what_is_believed_cached() -> None:
    router = a_router(a_pool("a"))
    chain = a_chain(1, 8)

    def hit(now: float, cached: int) -> int:
        request = a_request(blocks=chain)
        answer = placed(router.place(request, now))
        router.observe(UsageReported(request.request_id, None, cached), now)
        router.observe(Finished(request.request_id), now)
        return answer.decision.chosen.hit_tokens

    router.observe(Scraped("a", EngineView(kv_cache_tokens=8 * BLOCK_TOKENS)), 0.0)
    assert hit(0.0, cached=0) == 0
    assert hit(1.0, cached=8 * BLOCK_TOKENS) == 8 * BLOCK_TOKENS
    for i in range(30):
        hit(2.0 + i, cached=0)
    assert hit(99.0, cached=0) < 8 * BLOCK_TOKENS


def test_usage_without_cached_tokens_says_nothing() -> None:
    router = a_router(a_pool("a"))
    for i in range(30):
        request = a_request(blocks=a_chain(1, 8))
        router.place(request, float(i))
        router.observe(UsageReported(request.request_id, 2049, None), float(i))
        router.observe(Finished(request.request_id), float(i))
    assert router._pools["default/m"].state.mirror._caches["a"].share == 1.0


def test_without_affinity_no_hit_is_ever_predicted() -> None:
    policy = Policy(prefix_affinity=PrefixAffinity.DISABLED)
    router = a_router(a_pool("ab", policy=policy, slo=SLO))
    for i in range(10):
        answer = placed(router.place(a_request(blocks=a_chain(1, 8)), i * 10.0))
        router.tick(i * 10.0 + 9)
        assert answer.decision.chosen.hit_tokens == 0


# -- cancelling ------------------------------------------------------------------------------


def dispatched(router: Router) -> str:
    request = a_request(prompt_tokens=90_000)
    assert isinstance(router.place(request, 0.0), Placed)
    return request.request_id


def held(router: Router) -> str:
    dispatched(router)
    request = a_request()
    assert isinstance(router.place(request, 0.0), Held)
    return request.request_id


def answering(router: Router) -> str:
    request_id = dispatched(router)
    router.observe(FirstToken(request_id, "a"), 1.0)
    return request_id


def answering_elsewhere(router: Router) -> str:
    request_id = dispatched(router)
    router.observe(FirstToken(request_id, "10.9.9.9:1"), 1.0)
    return request_id


def taken_to_have_begun(router: Router) -> str:
    request_id = dispatched(router)
    router.tick(1000.0)
    return request_id


def dispatched_after_holding(router: Router) -> str:
    first = dispatched(router)
    request = a_request()
    router.place(request, 0.0)
    router.observe(FirstToken(first, "a"), 1.0)
    router.observe(Finished(first), 1.0)
    return request.request_id


@pytest.mark.parametrize(
    "phase",
    [
        dispatched,
        held,
        answering,
        answering_elsewhere,
        taken_to_have_begun,
        dispatched_after_holding,
    ],
    ids=lambda phase: phase.__name__,
)
@pytest.mark.parametrize("end", [Finished, Failed, Cancelled])
def test_whenever_and_however_it_ends_nothing_is_left(
    phase: Callable[[Router], str], end: type[Finished] | type[Failed] | type[Cancelled]
) -> None:
    router = a_router(a_pool("a"))
    router.observe(end(phase(router)), 1001.0)
    for request_id in list(router._tracked):
        router.observe(end(request_id), 1002.0)
    assert (router.leases_outstanding, router.held, len(router._tracked)) == (0, 0, 0)
    state = router._pools["default/m"].state
    assert state.backlog_s("a") == 0.0
    assert router.leases_at("a") == 0
