"""The dual ring: the pair of a key, and what a change of the fleet may do to it."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway_core.affinity.rings import DualRing, mix

KEYS = [mix(i, 1) for i in range(1000)]

weights_of_fleets = st.dictionaries(
    st.sampled_from([f"10.0.0.{i}:8000" for i in range(20)]),
    st.sampled_from([0.25, 0.5, 1.0, 1.7, 3.0]),
    min_size=2,
    max_size=9,
)
keys = st.integers(0, 2**64 - 1)


def a_ring(endpoints: int, weight: float = 1.0) -> DualRing:
    return DualRing({f"e{i}": weight for i in range(endpoints)})


def changes_of_both(before: DualRing, after: DualRing) -> int:
    """How many keys lose both of their endpoints."""
    return sum(not set(before.pair(key)) & set(after.pair(key)) for key in KEYS)


@given(weights_of_fleets, keys)
def test_the_two_endpoints_of_a_key_differ(weights: Mapping[str, float], key: int) -> None:
    first, second = DualRing(weights).pair(key)
    assert first != second
    assert {first, second} <= weights.keys()


def test_a_single_endpoint_serves_every_key_alone() -> None:
    assert DualRing({"only": 1.0}).pair(KEYS[0]) == ("only",)


def test_nobody_serves_a_key_of_an_empty_fleet() -> None:
    assert DualRing({}).pair(KEYS[0]) == ()


@settings(max_examples=40)
@given(weights_of_fleets, st.sampled_from([0.25, 1.0, 4.0]))
def test_an_endpoint_that_comes_or_goes_never_changes_both(
    weights: Mapping[str, float], weight: float
) -> None:
    before, after = DualRing(weights), DualRing({**weights, "new": weight})
    assert changes_of_both(before, after) == 0


@settings(max_examples=25)
@given(weights_of_fleets)
def test_a_weight_that_grows_in_steps_never_changes_both(weights: Mapping[str, float]) -> None:
    name = min(weights)
    steps = [DualRing({**weights, name: weights[name] * share}) for share in (0.25, 0.5, 0.75, 1)]
    for before, after in pairwise(steps):
        assert changes_of_both(before, after) == 0


@pytest.mark.parametrize("endpoints", [8, 16])
def test_one_endpoint_more_changes_the_predicted_share_of_keys(endpoints: int) -> None:
    """``1 - (n / (n + 1)) ** 2``; which endpoint it is moves that a little."""
    after = a_ring(endpoints + 1)
    changed = []
    for name in after.weights:
        before = DualRing({e: w for e, w in after.weights.items() if e != name})
        moved = sum(set(before.pair(key)) != set(after.pair(key)) for key in KEYS)
        changed.append(moved / len(KEYS))
    predicted = 1 - (endpoints / (endpoints + 1)) ** 2
    assert sum(changed) / len(changed) == pytest.approx(predicted, abs=0.02)
    assert max(changed) < 1.25 * predicted


def test_a_pair_is_the_same_in_a_process_with_another_hash_seed() -> None:
    program = (
        "from headway_core.affinity.rings import DualRing, mix\n"
        "ring = DualRing({f'e{i}': 1 + i % 3 for i in range(9)})\n"
        "print([ring.pair(mix(i, 3), frozenset({'e1', 'e4', 'e7'})) for i in range(50)])\n"
        "print([ring.pair(mix(i, 3)) for i in range(200)])\n"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


def test_an_endpoint_gets_keys_in_proportion_to_its_weight() -> None:
    weights = {f"e{i}": 2.0 if i < 4 else 1.0 for i in range(8)}
    ring = DualRing(weights)
    firsts = Counter(ring.pair(mix(i, 5))[0] for i in range(30_000))
    for name, weight in weights.items():
        assert firsts[name] / 30_000 == pytest.approx(weight / 12, rel=0.25)
    heavy = sum(firsts[f"e{i}"] for i in range(4))
    assert heavy / 30_000 == pytest.approx(8 / 12, rel=0.05)


@given(weights_of_fleets, st.randoms(use_true_random=False), keys)
def test_a_subset_gets_a_pair_of_its_own(
    weights: Mapping[str, float], rng: Random, key: int
) -> None:
    allowed = frozenset(rng.sample(sorted(weights), rng.randint(1, len(weights))))
    pair = DualRing(weights).pair(key, allowed)
    assert set(pair) <= allowed
    assert len(set(pair)) == len(pair) == min(2, len(allowed))


def test_a_key_keeps_its_endpoints_in_a_subset_that_has_them() -> None:
    ring = a_ring(8)
    for key in KEYS[:200]:
        pair = ring.pair(key)
        others = [e for e in ring.weights if e not in pair]
        assert set(ring.pair(key, frozenset([*pair, *others[:3]]))) == set(pair)


def test_a_subset_of_strangers_has_no_pair() -> None:
    assert a_ring(4).pair(KEYS[0], frozenset({"x", "y", "z"})) == ()


def test_keys_that_differ_in_one_bit_are_spread_over_all_endpoints() -> None:
    ring = a_ring(8)
    assert len({ring.pair(1 << bit)[0] for bit in range(64)}) == 8
