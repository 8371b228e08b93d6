"""How long a kind of engine takes for prefill work, learned from first tokens.

    seconds = overhead_s + s_per_token * tokens + s_per_pair * pairs

A least-squares fit of that law to (work ahead of and in a request when it was dispatched, time
until its first token), with relative errors and with older samples forgotten.  Because an engine
prefills first come, first served, the sum of the work in front explains the time without knowing
how it was batched; what decode steps take in between becomes part of the rates.  A declared or
typical rate is the start, and is trusted like a few samples: what the samples do not tell apart
stays as it was.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from headway_core.estimate.work import Work

TYPICAL_PREFILL_TOKENS_PER_S = 20_000.0
"""Prior of an endpoint of weight 1 about which nothing is declared: an 8B model on one A100."""

_FORGETTING = 0.998
_RELATIVE_NOISE = 0.2
"""Standard deviation of one observation, relative to its prediction."""
_CLIP = 2.0
"""So many times its prediction is the most that one observation counts for: it is a straggler.
Where the median of the recent ones is off by as much, up or down, the law is wrong: the engine is
not what was declared, or it has changed.  Then the fit starts from what was seen recently."""
_RECENT = 7
_ROUNDS = 4
_FLOOR = 0.05
"""The rate never exceeds the declared one by more than 1 / this: a guard against wild samples."""

# The prior's standard deviations: overhead within tens of ms, rate within a factor of two,
# attention up to what an 8B model shows (6 % of the linear cost per 1,000 tokens of context).
_OVERHEAD_S, _RATE, _ATTENTION = 0.05, 1.0, 0.06

# Scales that bring the three coefficients to the same order of magnitude.
_TOKENS, _PAIRS = 1e3, 1e6


@dataclass(slots=True)
class _Sample:
    tokens: float
    pairs: float
    seconds: float
    factor: float = 1.0
    """Observed / predicted, when it was observed."""


class PrefillRate:
    """The learned law of one kind of equal endpoints."""

    overhead_s: float
    s_per_token: float
    s_per_pair: float

    def __init__(self, prefill_tokens_per_s: float) -> None:
        declared = _TOKENS / prefill_tokens_per_s
        self._least = (0.0, _FLOOR * declared, 0.0)
        self._recent: deque[_Sample] = deque(maxlen=_RECENT)
        self._start_from(declared)

    def seconds(self, work: Work) -> float:
        """Time for the work alone, without the overhead of a request."""
        return self.s_per_token * work.tokens + self.s_per_pair * work.pairs

    def learn(self, work: Work, observed_s: float) -> bool:
        """``work`` was ahead of the first token that came ``observed_s`` after dispatch.

        True: the law was wrong, and is a new one now.
        """
        sample = _Sample(work.tokens / _TOKENS, work.pairs / _PAIRS, observed_s)
        sample.factor = observed_s / self._predicted(sample)
        self._recent.append(sample)
        typical = _median(s.factor for s in self._recent)
        if len(self._recent) < _RECENT or 1 / _CLIP <= typical <= _CLIP:
            self._add(sample)
            return False
        rate = _median(s.seconds / max(1e-3, s.tokens) for s in self._recent)
        self._start_from(max(rate, self._least[1]))
        for recent in self._recent:
            self._add(recent)
        self._recent.clear()
        return True

    def _predicted(self, sample: _Sample) -> float:
        law = self._law
        return max(1e-3, law[0] + law[1] * sample.tokens + law[2] * sample.pairs)

    def _start_from(self, rate: float) -> None:
        """Know nothing but an approximate rate."""
        self._prior = (0.0, rate, 0.0)
        deviations = (_OVERHEAD_S, _RATE * rate, _ATTENTION * rate)
        self._trust = [(_RELATIVE_NOISE / deviation) ** 2 for deviation in deviations]
        self._normal = [[0.0] * 3 for _ in range(3)]
        self._moment = [0.0] * 3
        self._take([*self._prior])

    def _add(self, sample: _Sample) -> None:
        predicted = self._predicted(sample)
        factor = min(_CLIP, sample.seconds / predicted)
        x = (1 / predicted, sample.tokens / predicted, sample.pairs / predicted)
        for i, row in enumerate(self._normal):
            row[:] = [_FORGETTING * a + x[i] * b for a, b in zip(row, x, strict=True)]
            self._moment[i] = _FORGETTING * self._moment[i] + x[i] * factor
        self._fit()

    def _fit(self) -> None:
        """Move the law towards the one that minimizes

            sum over samples of (law * x - factor)^2  +  sum of trust * (law - prior)^2

        with no coefficient below its least value: a few rounds of coordinate descent, which
        converges for such a problem, and goes on with the next sample.
        """
        law, least = self._law, self._least
        (n00, n01, n02), (_, n11, n12), (_, _, n22) = self._normal
        (t0, t1, t2), (p0, p1, p2) = self._trust, self._prior
        m0, m1, m2 = self._moment
        b0, b1, b2 = m0 + t0 * p0, m1 + t1 * p1, m2 + t2 * p2
        for _ in range(_ROUNDS):
            law[0] = max(least[0], (b0 - n01 * law[1] - n02 * law[2]) / (n00 + t0))
            law[1] = max(least[1], (b1 - n01 * law[0] - n12 * law[2]) / (n11 + t1))
            law[2] = max(least[2], (b2 - n02 * law[0] - n12 * law[1]) / (n22 + t2))
        self._take(law)

    def _take(self, law: list[float]) -> None:
        self._law = law
        self.overhead_s = law[0]
        self.s_per_token = law[1] / _TOKENS
        self.s_per_pair = law[2] / _PAIRS


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
