"""What scrapes and KV events tell of the engines, while it is fresh, and what it is worth later."""

from collections import Counter
from collections.abc import Sequence

from headway_core.events import (
    BlocksRemoved,
    BlocksStored,
    CacheCleared,
    Cancelled,
    Scraped,
    Unreachable,
)
from headway_core.facts import EngineView, Slo
from headway_core.outcomes import Held, Placed, Shed
from headway_core.router import Router
from headway_core.testing import BLOCK_TOKENS, a_chain, a_pool, a_request, a_router


def candidates(router: Router, now: float) -> set[str]:
    outcome = router.place(a_request(blocks=a_chain(1, 6)), now)
    assert isinstance(outcome, Placed | Held)
    return {c.endpoint_id for c in outcome.decision.candidates}


def test_with_stale_views_only_the_pair_is_considered() -> None:
    router = a_router(a_pool("abcdefgh"))
    pair = candidates(router, 0.0)
    assert len(pair) == 2, "nobody was ever scraped"
    for e in "abcdefgh":
        router.observe(Scraped(e, EngineView()), 1.0)
    assert candidates(router, 5.9) > pair, "the least loaded joins them"
    assert candidates(router, 6.1) == pair


def test_a_dead_endpoint_does_not_hide_the_least_loaded_ones() -> None:
    """More unreachable and idle endpoints than are looked at for a fresh view."""
    names = [f"e{i}" for i in range(20)]
    router = a_router(a_pool(names, slo=Slo(ttft_s=0.2)))
    for e in names:
        router.observe(Scraped(e, EngineView()), 0.0)
    for e in names[:12]:
        router.observe(Unreachable(e), 0.0)
    counts = Counter[str]()
    for i in range(1, 33):
        outcome = router.place(a_request(blocks=a_chain(0, 4) + a_chain(i, 4)), 0.0)
        assert not isinstance(outcome, Shed)
        counts[outcome.decision.endpoint_id] += 1
    assert set(counts) == set(names[12:]), "overflow of the pair reaches every live endpoint"


def test_others_requests_in_an_engine_s_queue_count_while_the_view_is_fresh() -> None:
    router = a_router(a_pool("a"))
    router.place(a_request(prompt_tokens=1000), 0.0)
    router.observe(Scraped("a", EngineView(waiting=4)), 1.0)

    def foreign_s(now: float) -> float:
        outcome = router.place(a_request(prompt_tokens=1000), now)
        assert not isinstance(outcome, Shed)
        assert outcome.decision is not None
        return outcome.decision.chosen.seconds_by_term["foreign"]

    assert foreign_s(1.1) > 0.2, "three requests of 1,000 tokens: one of the four is ours"
    assert foreign_s(6.1) == 0.0


def test_our_own_requests_in_the_engine_s_queue_are_not_counted_twice() -> None:
    router = a_router(a_pool("a"))
    for _ in range(3):
        router.place(a_request(), 0.0)
    router.observe(Scraped("a", EngineView(waiting=3)), 0.1)
    outcome = router.place(a_request(), 0.1)
    assert isinstance(outcome, Placed)
    assert outcome.decision.chosen.seconds_by_term["foreign"] == 0.0


def test_a_long_prompt_is_not_starved_by_others_at_a_shared_engine() -> None:
    router = a_router(a_pool("a"))
    router.observe(Scraped("a", EngineView(waiting=5)), 0.0)
    assert isinstance(router.place(a_request(blocks=a_chain(1, 60)), 0.0), Placed)


def test_a_missing_gauge_is_no_load() -> None:
    router = a_router(a_pool("a"))
    router.observe(Scraped("a", EngineView()), 0.0)
    outcome = router.place(a_request(), 0.0)
    assert isinstance(outcome, Placed)
    assert outcome.decision.chosen.seconds_by_term["foreign"] == 0.0


def hit_tokens(router: Router, blocks: Sequence[int], now: float = 1.0) -> int:
    request = a_request(blocks=blocks, allowed=["a"])
    outcome = router.place(request, now)
    assert isinstance(outcome, Placed)
    router.observe(Cancelled(request.request_id), now)
    return outcome.decision.chosen.hit_tokens


def test_kv_events_say_what_an_engine_holds() -> None:
    router = a_router(a_pool("ab"))
    chain = a_chain(1, 8)
    router.observe(BlocksStored("a", chain[:6], BLOCK_TOKENS), 0.0)
    assert hit_tokens(router, chain) == 6 * BLOCK_TOKENS
    router.observe(BlocksRemoved("a", chain[4:]), 1.0)
    assert hit_tokens(router, chain[:7]) == 4 * BLOCK_TOKENS
    router.observe(CacheCleared("a"), 1.0)
    assert hit_tokens(router, chain) == 0


def test_a_cache_as_large_as_the_engine_says() -> None:
    router = a_router(a_pool("ab"))
    router.observe(Scraped("a", EngineView(kv_cache_tokens=3 * BLOCK_TOKENS)), 0.0)
    hit_tokens(router, a_chain(1, 8))
    assert hit_tokens(router, a_chain(1, 8)) == 3 * BLOCK_TOKENS
