"""The learned prefill law: that it converges, and that nothing throws it off for long."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_core.estimate.rates import PrefillRate
from headway_core.estimate.work import Work, prefill_work

SIZES = (300, 1000, 4000, 16_000)


class AnEngine:
    """seconds = overhead_s + tokens / rate + 2e-9 * pairs, with relative noise."""

    def __init__(
        self, rate: float, *, overhead_s: float = 0.02, s_per_pair: float = 2e-9, noise: float = 0.1
    ) -> None:
        self.rate, self.overhead_s, self.s_per_pair, self.noise = (
            rate,
            overhead_s,
            s_per_pair,
            noise,
        )
        self.rng = Random(1)

    def seconds(self, work: Work) -> float:
        return self.overhead_s + work.tokens / self.rate + self.s_per_pair * work.pairs

    def teach(self, law: PrefillRate, samples: int, *, outliers: float = 0.0) -> None:
        """Prompts as on the conversation trace: lognormal, some with a long hit."""
        for _ in range(samples):
            tokens = int(self.rng.lognormvariate(8, 1))
            work = prefill_work(tokens, int(tokens * self.rng.choice([0, 0, 0.5, 0.9])))
            observed_s = self.seconds(work) * (1 + self.rng.gauss(0, self.noise))
            if self.rng.random() < outliers:
                observed_s *= 20
            law.learn(work, max(0.0, observed_s))

    def worst_error(self, law: PrefillRate) -> float:
        works = [prefill_work(tokens, 0) for tokens in SIZES]
        return max(abs(predicted(law, w) / self.seconds(w) - 1) for w in works)


def predicted(law: PrefillRate, work: Work) -> float:
    return law.overhead_s + law.seconds(work)


def test_the_prior_is_the_declared_rate() -> None:
    assert predicted(PrefillRate(10_000), Work(5_000, 0)) == 0.5


@pytest.mark.parametrize("rate", [500, 4_000, 10_000, 40_000])
def test_a_hundred_requests_teach_the_law_of_an_engine(rate: float) -> None:
    law, engine = PrefillRate(10_000), AnEngine(rate)
    engine.teach(law, 100)
    assert engine.worst_error(law) < 0.15


def test_without_noise_the_law_is_found_in_every_term() -> None:
    law, engine = PrefillRate(10_000), AnEngine(5_000, overhead_s=0.03, noise=0)
    engine.teach(law, 100)
    assert engine.worst_error(law) < 0.03


def test_an_engine_sixty_times_slower_than_supposed_is_soon_believed() -> None:
    law, engine = PrefillRate(20_000), AnEngine(320)
    engine.teach(law, 20)
    assert engine.worst_error(law) < 0.2


def test_it_stays_true_over_many_requests() -> None:
    law, engine = PrefillRate(10_000), AnEngine(6_000)
    engine.teach(law, 20_000)
    assert engine.worst_error(law) < 0.1


def test_it_follows_an_engine_that_changes() -> None:
    law, before, after = PrefillRate(10_000), AnEngine(10_000), AnEngine(3_000)
    before.teach(law, 2_000)
    after.teach(law, 300)
    assert after.worst_error(law) < 0.2


def test_one_straggler_moves_the_law_little() -> None:
    law, engine = PrefillRate(10_000), AnEngine(8_000)
    engine.teach(law, 200)
    law.learn(prefill_work(2_000, 0), 60.0)
    assert engine.worst_error(law) < 0.2


def test_stragglers_bias_it_by_a_fraction_of_their_mean() -> None:
    """One in twenty takes 20 times as long: all together take 95 % more."""
    law, engine = PrefillRate(10_000), AnEngine(8_000)
    engine.teach(law, 1_000, outliers=0.05)
    assert engine.worst_error(law) < 0.2


def test_equal_requests_teach_what_they_take_and_leave_it_open_to_others() -> None:
    law, engine, work = PrefillRate(10_000), AnEngine(5_000), prefill_work(1_000, 0)
    for _ in range(5_000):
        law.learn(work, engine.seconds(work))
    assert predicted(law, work) == pytest.approx(engine.seconds(work), rel=0.01)
    engine.teach(law, 200)
    assert engine.worst_error(law) < 0.2


@given(
    st.lists(
        st.tuples(st.integers(0, 1_000_000), st.integers(0, 1_000_000), st.floats(0, 1e6)),
        max_size=60,
    )
)
def test_no_observation_makes_a_prediction_negative_or_infinite(
    samples: list[tuple[int, int, float]],
) -> None:
    law = PrefillRate(10_000)
    for tokens, hit_tokens, observed_s in samples:
        law.learn(prefill_work(tokens, min(hit_tokens, tokens)), observed_s)
    for tokens in (0, 1, 1_000, 1_000_000):
        assert 0 < predicted(law, prefill_work(tokens, 0)) < 1e12


def test_zero_seconds_for_ever_leave_a_rate_that_is_finite() -> None:
    law = PrefillRate(10_000)
    for _ in range(1_000):
        law.learn(prefill_work(1_000, 0), 0.0)
    assert law.seconds(Work(1_000, 0)) == pytest.approx(0.005), "a twentieth of the prior"
