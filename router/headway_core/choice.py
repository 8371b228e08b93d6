"""The rule that picks an endpoint among the candidates.

    affine = longest predicted hit beyond the ring key, else the ring pair
             (ties: fewest requests per weight, then the least TTFT)
    choose the affine one   if P(TTFT <= SLO) there >= p_aff
    else the least predicted TTFT
             (ties: fewest requests per weight, longest hit, the ring pair, least recently used)

DualMap's rule with a probability in place of its half SLO.  Without an SLO there is nothing that
would justify waiting for a cache: the least TTFT, which counts hits and queues in one unit.

A prompt shorter than a block has no prefix to find.  What it costs is its decoding, so it goes to
the endpoint with the fewest requests per weight, unless that would endanger its first token.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from headway_core.estimate.work import Work
from headway_core.outcomes import Candidate, Reason

INDIFFERENT_S = 0.02
"""Within this two TTFT are a tie, and not worth unbalancing the decode load: one engine step.  It
also keeps what a learned rate is off by a little from deciding always for the same endpoint."""


@dataclass(slots=True)
class Prospect:
    """A candidate, with what the choice and the charge need beside its explanation."""

    candidate: Candidate
    work: Work
    own_hit_tokens: int
    """The predicted hit if it reaches as deep as the ring key, else 0: what every prompt of the
    pool begins with is soon cached everywhere, and no reason to prefer an endpoint."""
    shared_hit_s: float
    """What a hit that does not reach so deep saves; without it an endpoint that serves nobody yet
    would never be the quickest, and so never serve."""
    is_paired: bool
    last_used: float
    requests_per_weight: float
    """(requests there + this one) / weight."""


def choose_affine(
    prospects: Sequence[Prospect], affinity_probability: float
) -> tuple[Prospect, Reason]:
    """Pick for a request with a prefix; ``prospects`` is not empty."""
    affine = min(
        prospects,
        key=lambda p: (
            -p.own_hit_tokens,
            not p.is_paired,
            p.requests_per_weight,
            p.candidate.ttft_s,
            p.last_used,
        ),
    )
    probability = affine.candidate.slo_probability
    if probability is not None and probability >= affinity_probability:
        return affine, Reason.AFFINE
    quickest = _quickest(prospects)
    return quickest, Reason.AFFINE if quickest is affine else Reason.LEAST_TTFT


def choose_balanced(
    prospects: Sequence[Prospect], affinity_probability: float
) -> tuple[Prospect, Reason]:
    """Pick for a request without a prefix; ``prospects`` is not empty."""
    emptiest = min(
        prospects, key=lambda p: (p.requests_per_weight, p.candidate.ttft_s, p.last_used)
    )
    quickest = _quickest(prospects)
    probability = emptiest.candidate.slo_probability
    if probability is not None:
        is_safe = probability >= affinity_probability
    else:
        is_safe = emptiest.candidate.ttft_s <= quickest.candidate.ttft_s + INDIFFERENT_S
    if is_safe or emptiest is quickest:
        return emptiest, Reason.LEAST_BACKLOG
    return quickest, Reason.LEAST_TTFT


def _quickest(prospects: Sequence[Prospect]) -> Prospect:
    least_s = min(p.candidate.ttft_s + p.shared_hit_s for p in prospects)
    tied = [p for p in prospects if p.candidate.ttft_s + p.shared_hit_s <= least_s + INDIFFERENT_S]
    return min(
        tied,
        key=lambda p: (p.requests_per_weight, -p.own_hit_tokens, not p.is_paired, p.last_used),
    )
