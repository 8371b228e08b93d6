"""The rule of choice, as a table of cases."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_core.choice import INDIFFERENT_S, Prospect, choose_affine, choose_balanced
from headway_core.estimate.work import NO_WORK
from headway_core.outcomes import Candidate, Reason

P_AFF = 0.9


def a_prospect(
    name: str,
    *,
    ttft_s: float = 1.0,
    hit: int = 0,
    own_hit: int | None = None,
    shared_hit_s: float = 0.0,
    p: float | None = None,
    paired: bool = False,
    last_used: float = 0.0,
    requests: float = 1.0,
) -> Prospect:
    seconds = {"queue": 0.0, "engine": 0.0, "foreign": 0.0, "prefill": ttft_s}
    return Prospect(
        candidate=Candidate(name, seconds, ttft_s, hit, p),
        work=NO_WORK,
        own_hit_tokens=hit if own_hit is None else own_hit,
        shared_hit_s=shared_hit_s,
        is_paired=paired,
        last_used=last_used,
        requests_per_weight=requests,
    )


@pytest.mark.parametrize(
    ("prospects", "winner", "reason"),
    [
        pytest.param(
            [a_prospect("warm", hit=900, p=0.95, ttft_s=4), a_prospect("cold", p=1.0, ttft_s=1)],
            "warm",
            Reason.AFFINE,
            id="the affine one while it meets the SLO, though another is quicker",
        ),
        pytest.param(
            [a_prospect("warm", hit=900, p=0.9, ttft_s=4), a_prospect("cold", p=1.0, ttft_s=1)],
            "warm",
            Reason.AFFINE,
            id="at exactly p_aff too",
        ),
        pytest.param(
            [a_prospect("warm", hit=900, p=0.89, ttft_s=4), a_prospect("cold", p=1.0, ttft_s=1)],
            "cold",
            Reason.LEAST_TTFT,
            id="one step beyond, the quickest",
        ),
        pytest.param(
            [a_prospect("warm", hit=900, p=0.1, ttft_s=1), a_prospect("cold", p=0.0, ttft_s=9)],
            "warm",
            Reason.AFFINE,
            id="which may be the affine one all the same",
        ),
        pytest.param(
            [a_prospect("warm", hit=900, ttft_s=2), a_prospect("cold", ttft_s=1)],
            "cold",
            Reason.LEAST_TTFT,
            id="without an SLO the quickest",
        ),
        pytest.param(
            [
                a_prospect("other", hit=500, p=1.0, ttft_s=0.1),
                a_prospect("pair", hit=500, p=1.0, paired=True),
            ],
            "pair",
            Reason.AFFINE,
            id="of equal hits the ring pair",
        ),
        pytest.param(
            [
                a_prospect("slow", hit=500, p=1.0, paired=True, ttft_s=2),
                a_prospect("quick", hit=500, p=1.0, paired=True, ttft_s=1),
            ],
            "quick",
            Reason.AFFINE,
            id="of the pair the quicker",
        ),
        pytest.param(
            [
                a_prospect("busy", p=1.0, paired=True, requests=3, ttft_s=1),
                a_prospect("free", p=1.0, paired=True, requests=2, ttft_s=2),
            ],
            "free",
            Reason.AFFINE,
            id="but before that the one with fewer requests, as both keep the SLO",
        ),
        pytest.param(
            [
                a_prospect("has what all share", hit=900, own_hit=0, p=1.0),
                a_prospect("pair", p=1.0, paired=True),
            ],
            "pair",
            Reason.AFFINE,
            id="a hit that everybody's prompt would have is none",
        ),
        pytest.param(
            [
                a_prospect("recent", p=1.0, paired=True, last_used=7),
                a_prospect("rested", p=1.0, paired=True, last_used=3),
            ],
            "rested",
            Reason.AFFINE,
            id="of equals the least recently used",
        ),
        pytest.param(
            [a_prospect("a", last_used=2), a_prospect("b", ttft_s=1 + INDIFFERENT_S, last_used=1)],
            "b",
            Reason.LEAST_TTFT,
            id="of equally quick ones too, and one engine step is no difference",
        ),
        pytest.param(
            [
                a_prospect("busy", requests=3),
                a_prospect("free", ttft_s=1 + INDIFFERENT_S, requests=2),
            ],
            "free",
            Reason.AFFINE,
            id="but first the one with fewer requests",
        ),
        pytest.param(
            [a_prospect("busy", requests=3), a_prospect("free", ttft_s=1.1, requests=2)],
            "busy",
            Reason.LEAST_TTFT,
            id="if it is as quick",
        ),
        pytest.param(
            [
                a_prospect("busy", own_hit=0, requests=2, shared_hit_s=0.5),
                a_prospect("free", ttft_s=1.5),
            ],
            "free",
            Reason.AFFINE,
            id="not counting what a hit saves that everybody's prompt would have",
        ),
    ],
)
def test_choice_with_a_prefix(prospects: list[Prospect], winner: str, reason: Reason) -> None:
    for order in (prospects, prospects[::-1]):
        chosen, why = choose_affine(order, P_AFF)
        assert (chosen.candidate.endpoint_id, why) == (winner, reason)


@pytest.mark.parametrize(
    ("prospects", "winner", "reason"),
    [
        pytest.param(
            [a_prospect("busy", requests=3, p=1.0, ttft_s=0.1), a_prospect("free", p=1.0)],
            "free",
            Reason.LEAST_BACKLOG,
            id="the fewest requests, though another is quicker",
        ),
        pytest.param(
            [a_prospect("busy", requests=3, p=1.0), a_prospect("free", p=0.89, ttft_s=9)],
            "busy",
            Reason.LEAST_TTFT,
            id="unless its first token would be late",
        ),
        pytest.param(
            [
                a_prospect("busy", requests=3, ttft_s=1.0),
                a_prospect("free", ttft_s=1.0 + INDIFFERENT_S),
            ],
            "free",
            Reason.LEAST_BACKLOG,
            id="without an SLO, while the difference is one engine step",
        ),
        pytest.param(
            [
                a_prospect("busy", requests=3, ttft_s=1.0),
                a_prospect("free", ttft_s=1.01 + INDIFFERENT_S),
            ],
            "busy",
            Reason.LEAST_TTFT,
            id="and not beyond",
        ),
        pytest.param(
            [a_prospect("a", p=0.0, ttft_s=9), a_prospect("b", p=0.0, ttft_s=8, requests=2)],
            "b",
            Reason.LEAST_TTFT,
            id="where all would be late, the quickest",
        ),
        pytest.param(
            [a_prospect("recent", p=1.0, last_used=7), a_prospect("rested", p=1.0, last_used=3)],
            "rested",
            Reason.LEAST_BACKLOG,
            id="of equals the least recently used",
        ),
    ],
)
def test_choice_without_a_prefix(prospects: list[Prospect], winner: str, reason: Reason) -> None:
    for order in (prospects, prospects[::-1]):
        chosen, why = choose_balanced(order, P_AFF)
        assert (chosen.candidate.endpoint_id, why) == (winner, reason)


probabilities = st.none() | st.floats(0, 1)


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.integers(0, 9000), probabilities, st.booleans()),
        min_size=1,
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_the_candidates_does_not_matter(
    facts: list[tuple[float, int, float | None, bool]], rng: Random
) -> None:
    prospects = [
        a_prospect(str(i), ttft_s=t, hit=h, p=p, paired=paired, last_used=i)
        for i, (t, h, p, paired) in enumerate(facts)
    ]
    shuffled = rng.sample(prospects, len(prospects))
    for choose in (choose_affine, choose_balanced):
        assert choose(shuffled, P_AFF) == choose(prospects, P_AFF)


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 1), st.floats(0, 1))
def test_a_quicker_affine_endpoint_is_never_given_up_for_it(
    ttft_s: float, other_s: float, p: float, better: float
) -> None:
    """Monotone: what is chosen stays chosen when it gets quicker and safer."""
    cold = a_prospect("cold", ttft_s=other_s, p=0.5)
    before, _ = choose_affine([a_prospect("warm", hit=1, ttft_s=ttft_s, p=p), cold], P_AFF)
    improved = a_prospect("warm", hit=1, ttft_s=ttft_s * better, p=max(p, better))
    after, _ = choose_affine([improved, cold], P_AFF)
    if before.candidate.endpoint_id == "warm":
        assert after.candidate.endpoint_id == "warm"
