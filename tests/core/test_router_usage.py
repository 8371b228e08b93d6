"""What engines report of a request corrects what was believed of it."""

from dataclasses import replace

import pytest

from headway_core.events import Finished, FirstToken, UsageReported
from headway_core.router import Router
from headway_core.testing import a_chain, a_pool, a_request, a_router, an_endpoint


def s_per_token(router: Router) -> float:
    """Of the law of endpoint a."""
    return router._pools["default/m"].state.latency.endpoints["a"].tier.rate.s_per_token


@pytest.mark.parametrize(("tells", "law"), [(True, 0.0001), (False, 0.001)])
def test_an_answer_that_comes_as_a_whole_says_nothing_of_the_prefill(
    tells: bool, law: float
) -> None:
    router = a_router(a_pool([an_endpoint("a", prefill_tokens_per_s=1000.0)]))
    for i in range(60):
        request = replace(a_request(prompt_tokens=2000), tells_first_token=tells)
        router.place(request, 10.0 * i)
        router.observe(FirstToken(request.request_id), 10.0 * i + 0.2)
        router.observe(Finished(request.request_id), 10.0 * i + 1)
    assert s_per_token(router) == pytest.approx(law, rel=0.2)


@pytest.mark.parametrize(("cached_tokens", "is_right"), [(1024, True), (128, False)])
def test_hits_are_compared_at_the_length_that_was_reported(
    cached_tokens: int, is_right: bool
) -> None:
    """Where a token has more bytes than was thought, all counts are smaller, and none is wrong."""
    router = a_router(a_pool("a"))
    for i in range(30):
        request = a_request(blocks=a_chain(1, 8))
        router.place(request, float(i))
        router.observe(UsageReported(request.request_id, 1025, cached_tokens), float(i))
        router.observe(Finished(request.request_id), float(i))
    share = router._pools["default/m"].state.mirror._caches["a"].share
    assert (share == 1.0) is is_right
