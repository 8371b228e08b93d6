"""Predicted seconds: one law per kind of endpoint, one correction per endpoint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_core.estimate.latency import REMEMBERED_TIERS, LatencyModel
from headway_core.estimate.work import Work, prefill_work
from headway_core.facts import Endpoint
from headway_core.testing import an_endpoint

WORK = prefill_work(1_000, 0)


def a_model(*endpoints: Endpoint | str) -> LatencyModel:
    model = LatencyModel()
    model.follow(an_endpoint(e) if isinstance(e, str) else e for e in endpoints)
    return model


def test_an_endpoint_is_taken_for_what_it_declares() -> None:
    model = a_model(an_endpoint("a", prefill_tokens_per_s=5_000))
    assert model.endpoints["a"].work_s(Work(1_000, 0)) == 0.2


def test_one_that_declares_nothing_is_typical_for_its_weight() -> None:
    model = a_model(
        an_endpoint("a", prefill_tokens_per_s=None),
        an_endpoint("b", prefill_tokens_per_s=None, weight=2.0),
    )
    assert model.endpoints["a"].work_s(WORK) == pytest.approx(2 * model.endpoints["b"].work_s(WORK))


def test_what_one_endpoint_shows_is_believed_of_its_sisters() -> None:
    model = a_model("a", "b")
    for _ in range(200):
        model.learn("a", WORK, 0.3)
    assert model.endpoints["b"].prefill_s(WORK) == pytest.approx(0.3, rel=0.1)


def test_but_not_of_another_group() -> None:
    model = a_model("a", an_endpoint("b", group="other"))
    for _ in range(200):
        model.learn("a", WORK, 0.3)
    assert model.endpoints["b"].prefill_s(WORK) == 0.1


def test_a_different_cache_does_not_make_another_kind() -> None:
    model = a_model("a", an_endpoint("b", kv_cache_tokens=1_000))
    assert model.endpoints["a"].tier is model.endpoints["b"].tier


def test_an_endpoint_slower_than_its_sisters_is_corrected() -> None:
    model = a_model("slow", *"abcdefg")
    for _ in range(100):
        for name in "abcdefg":
            model.learn(name, WORK, 0.1)
        model.learn("slow", WORK, 0.2)
    assert model.endpoints["slow"].prefill_s(WORK) / model.endpoints["a"].prefill_s(
        WORK
    ) == pytest.approx(2, rel=0.15)


@given(st.lists(st.floats(0, 1e5), max_size=80))
def test_a_correction_stays_between_a_quarter_and_four(observed: list[float]) -> None:
    model = a_model("a", "b")
    for observed_s in observed:
        model.learn("a", WORK, observed_s)
        model.learn("b", WORK, 0.1)
    assert 0.25 <= model.endpoints["a"].correction <= 4


def test_a_law_that_was_wrong_leaves_no_corrections_behind() -> None:
    """The first requests push the corrections up, until the law itself is known."""
    model = a_model("a", "b")
    for _ in range(20):
        model.learn("a", WORK, 6.0)
        model.learn("b", WORK, 6.0)
    assert model.endpoints["a"].prefill_s(WORK) == pytest.approx(6.0, rel=0.1)
    assert model.endpoints["a"].probability_within(model.endpoints["a"].prefill_s(WORK), 7.0) > 0.9


def test_what_an_endpoint_that_is_gone_shows_is_ignored() -> None:
    model = a_model("a")
    model.learn("gone", WORK, 9.0)
    assert model.endpoints["a"].prefill_s(WORK) == 0.1


def test_an_endpoint_that_stays_as_it_was_keeps_what_was_learned() -> None:
    model = a_model("a", "b")
    for _ in range(50):
        model.learn("a", WORK, 0.4)
    learned = model.endpoints["a"].prefill_s(WORK)
    model.follow([an_endpoint("a"), an_endpoint("c")])
    assert model.endpoints["a"].prefill_s(WORK) == learned
    assert "b" not in model.endpoints


def test_an_endpoint_that_comes_back_finds_the_law_of_its_kind() -> None:
    model = a_model("a")
    for _ in range(200):
        model.learn("a", WORK, 0.4)
    model.follow([])
    model.follow([an_endpoint("a")])
    assert model.endpoints["a"].prefill_s(WORK) == pytest.approx(0.4, rel=0.1)
    assert model.endpoints["a"].correction == 1.0


def test_kinds_that_are_no_longer_there_are_forgotten_in_the_end() -> None:
    model = LatencyModel()
    for i in range(10 * REMEMBERED_TIERS):
        model.follow([an_endpoint("a", weight=1 + i / 100), an_endpoint("b")])
    assert len(model._tiers) == REMEMBERED_TIERS
    assert "b" in model.endpoints


def test_kinds_that_are_there_are_all_remembered() -> None:
    model = a_model(*(an_endpoint(f"e{i}", group=f"g{i}") for i in range(2 * REMEMBERED_TIERS)))
    assert len(model._tiers) == 2 * REMEMBERED_TIERS
