"""How long a kind of engine takes for prefill work, learned from first tokens.

    seconds = overhead_s + s_per_token * tokens + s_per_pair * pairs

A recursive least-squares fit of that law to (work ahead of and in a request when it was
dispatched, time until its first token).  Because an engine prefills first come, first served, the
sum of the work in front explains the time without knowing how it was batched; what decode steps
take in between becomes part of the rates.  It starts from a declared or typical rate and trusts
that like a few samples.
"""

from headway_core.estimate.work import Work

TYPICAL_PREFILL_TOKENS_PER_S = 20_000.0
"""Prior of an endpoint of weight 1 about which nothing is declared: an 8B model on one A100."""

_FORGETTING = 0.998
_RELATIVE_NOISE = 0.2
"""Standard deviation of one observation, relative to its prediction."""
_FLOOR = 0.05
"""The rate never exceeds the prior's by more than 1 / this: a guard against wild samples."""

# Scales that bring the three coefficients to the same order of magnitude.
_TOKENS, _PAIRS = 1e3, 1e6


class PrefillRate:
    """The learned law of one group of equal endpoints."""

    def __init__(self, prefill_tokens_per_s: float) -> None:
        per_token = _TOKENS / prefill_tokens_per_s
        self._floor = (0.0, _FLOOR * per_token, 0.0)
        self._law = [0.0, per_token, 0.0]
        # The prior's variances: overhead within tens of ms, rate within a factor, attention up
        # to what an 8B model shows (6 % of the linear cost per 1,000 tokens of context).
        self._limit = (0.05**2, per_token**2, (0.06 * per_token) ** 2)
        self._cov = [[self._limit[i] if i == j else 0.0 for j in range(3)] for i in range(3)]

    @property
    def overhead_s(self) -> float:
        return self._law[0]

    def seconds(self, work: Work) -> float:
        """Time for the work alone, without the overhead of a request."""
        return self._law[1] * work.tokens / _TOKENS + self._law[2] * work.pairs / _PAIRS

    def learn(self, work: Work, observed_s: float) -> None:
        """``work`` was ahead of the first token that came ``observed_s`` after dispatch."""
        features = (1.0, work.tokens / _TOKENS, work.pairs / _PAIRS)
        predicted = max(1e-3, sum(c * x for c, x in zip(self._law, features, strict=True)))
        # Relative errors, clipped: one straggler must not move the law of all.
        x = [f / predicted for f in features]
        error = min(3.0, max(-1.0, observed_s / predicted - 1.0))
        spread = [sum(row[j] * x[j] for j in range(3)) for row in self._cov]
        total = _RELATIVE_NOISE**2 + sum(a * b for a, b in zip(x, spread, strict=True))
        gain = [s / total for s in spread]
        for i in range(3):
            self._law[i] = max(self._floor[i], self._law[i] + gain[i] * error)
        self._cov = [
            [(self._cov[i][j] - gain[i] * spread[j]) / _FORGETTING for j in range(3)]
            for i in range(3)
        ]
        for i in range(3):
            self._keep_within_prior(i)

    def _keep_within_prior(self, i: int) -> None:
        """Forgetting without fresh evidence would let the variance grow without bound."""
        if self._cov[i][i] > self._limit[i]:
            scale = (self._limit[i] / self._cov[i][i]) ** 0.5
            for j in range(3):
                self._cov[i][j] *= scale
                self._cov[j][i] *= scale
