"""The mirror of the engines' prefix caches: against a naive model, and what its order must be."""

from collections.abc import Sequence
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from headway_core.prefix.mirror import DEFAULT_CACHE_TOKENS, Mirror
from headway_core.testing import a_chain

BLOCK_TOKENS = 100


def a_mirror(**cache_blocks: int) -> Mirror:
    mirror = Mirror()
    for name, blocks in cache_blocks.items():
        mirror.add(name, blocks * BLOCK_TOKENS)
    return mirror


def record(mirror: Mirror, endpoint: str, blocks: Sequence[int]) -> None:
    mirror.record(endpoint, blocks, BLOCK_TOKENS)


def test_nothing_is_predicted_before_anything_was_sent() -> None:
    mirror = a_mirror(a=10)
    assert mirror.hit_blocks("a", a_chain(1, 5)) == 0
    assert mirror.longest_run(a_chain(1, 5)) == 0
    assert mirror.holders(1, 3) == []


def test_what_was_sent_is_predicted_as_far_as_the_prompts_agree() -> None:
    mirror = a_mirror(a=10, b=10)
    record(mirror, "a", (1, 2, 3, 4))
    assert mirror.hit_blocks("a", (1, 2, 3, 40, 50)) == 3
    assert mirror.hit_blocks("b", (1, 2, 3, 40, 50)) == 0


def test_the_tail_of_a_prompt_is_evicted_before_its_head() -> None:
    mirror = a_mirror(a=6)
    record(mirror, "a", (1, 2, 3, 4))
    record(mirror, "a", (10, 11, 12, 13))
    assert mirror.hit_blocks("a", (1, 2, 3, 4)) == 2


def test_a_prompt_that_is_used_again_stays() -> None:
    mirror = a_mirror(a=6)
    record(mirror, "a", (1, 2, 3))
    record(mirror, "a", (10, 11, 12))
    record(mirror, "a", (1, 2, 3))
    record(mirror, "a", (20, 21, 22))
    assert mirror.hit_blocks("a", (1, 2, 3)) == 3
    assert mirror.hit_blocks("a", (10, 11, 12)) == 0


def test_of_a_prompt_longer_than_the_cache_the_head_stays() -> None:
    mirror = a_mirror(a=3)
    record(mirror, "a", a_chain(1, 50))
    assert mirror.hit_blocks("a", a_chain(1, 50)) == 3


def test_a_prompt_without_blocks_changes_nothing() -> None:
    mirror = a_mirror(a=3)
    record(mirror, "a", ())
    assert mirror.hit_blocks("a", ()) == 0
    assert mirror.longest_run(()) == 0


def test_the_longest_hit_of_the_pool_names_only_who_has_it() -> None:
    mirror = a_mirror(a=10, b=10, c=10)
    record(mirror, "a", (1, 2))
    record(mirror, "b", (1, 2, 3))
    record(mirror, "c", (1, 2, 3))
    assert mirror.longest_run((1, 2, 3, 4)) == 3
    assert mirror.holders(3, 8) == ["b", "c"]
    assert mirror.holders(3, 1) == ["b"]


def test_a_new_capacity_holds_from_the_next_prompt_on() -> None:
    mirror = a_mirror(a=10)
    record(mirror, "a", a_chain(1, 8))
    mirror.resize("a", 4 * BLOCK_TOKENS)
    record(mirror, "a", a_chain(1, 8))
    assert mirror.hit_blocks("a", a_chain(1, 8)) == 4


@pytest.mark.parametrize(
    ("cache_tokens", "expected"),
    [
        pytest.param(None, DEFAULT_CACHE_TOKENS // 1000, id="unknown is typical"),
        pytest.param(0, 0, id="zero is nothing"),
        pytest.param(999, 0, id="and so is less than a block"),
    ],
)
def test_capacity(cache_tokens: int | None, expected: int) -> None:
    mirror, chain = Mirror(), a_chain(1, 400)
    mirror.add("a", cache_tokens)
    mirror.record("a", chain, 1000)
    assert mirror.hit_blocks("a", chain) == expected


def test_predictions_that_overshoot_shrink_the_mirror_to_a_quarter_at_most() -> None:
    mirror, chain = a_mirror(a=100), a_chain(1, 100)
    for _ in range(1000):
        mirror.learn("a", predicted_tokens=1000, cached_tokens=100)
    record(mirror, "a", chain)
    assert mirror.hit_blocks("a", chain) == 25


def test_right_predictions_let_it_recover() -> None:
    mirror, chain = a_mirror(a=100), a_chain(1, 100)
    for _ in range(10):
        mirror.learn("a", predicted_tokens=1000, cached_tokens=0)
    record(mirror, "a", chain)
    shrunk = mirror.hit_blocks("a", chain)
    for _ in range(1000):
        mirror.learn("a", predicted_tokens=1000, cached_tokens=1000)
    record(mirror, "a", chain)
    assert shrunk < mirror.hit_blocks("a", chain) == 100


def test_a_hit_that_is_a_little_short_is_right() -> None:
    mirror, chain = a_mirror(a=100), a_chain(1, 100)
    mirror.learn("a", predicted_tokens=1000, cached_tokens=900)
    record(mirror, "a", chain)
    assert mirror.hit_blocks("a", chain) == 100


def test_adding_an_endpoint_again_keeps_what_it_holds() -> None:
    mirror = a_mirror(a=10)
    record(mirror, "a", (1, 2))
    mirror.add("a", 5)
    assert mirror.hit_blocks("a", (1, 2)) == 2


def test_an_endpoint_that_takes_the_place_of_another_holds_nothing_of_it() -> None:
    mirror = a_mirror(a=10, b=10)
    record(mirror, "a", (1, 2))
    mirror.remove("a")
    mirror.add("c", 1000)
    assert mirror.longest_run((1, 2)) == 0
    record(mirror, "c", (1,))
    assert mirror.longest_run((1, 2)) == 1
    assert mirror.holders(1, 8) == ["c"]


class _NaiveCache:
    """An LRU list of blocks, the next to be evicted first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.blocks: list[int] = []

    def record(self, chain: Sequence[int]) -> None:
        self.blocks = [b for b in self.blocks if b not in chain] + list(reversed(chain))
        self.blocks = self.blocks[max(0, len(self.blocks) - self.capacity) :]

    def forget(self, blocks: Sequence[int]) -> None:
        self.blocks = [b for b in self.blocks if b not in blocks]

    def hit(self, chain: Sequence[int]) -> int:
        run = 0
        while run < len(chain) and chain[run] in self.blocks:
            run += 1
        return run


ROOT = 1


def _prompt(path: Sequence[int]) -> tuple[int, ...]:
    """Chained ids: a block stands for all turns up to it."""
    return tuple(accumulate(path, lambda before, turn: before * 5 + turn, initial=ROOT))[1:]


def _before(block: int) -> int:
    return block // 5


prompts = st.lists(st.integers(0, 2), min_size=0, max_size=6).map(_prompt)
names = st.sampled_from("abc")


class MirrorAgainstNaiveCaches(RuleBasedStateMachine):
    """Chains share prefixes as conversations do; engines evict a chain from its tail."""

    @initialize()
    def start(self) -> None:
        self.mirror = Mirror()
        self.naive: dict[str, _NaiveCache] = {}

    @rule(name=names, blocks=st.integers(1, 8))
    def add(self, name: str, blocks: int) -> None:
        self.mirror.add(name, blocks * BLOCK_TOKENS)
        self.naive.setdefault(name, _NaiveCache(blocks))

    @rule(name=names)
    def remove(self, name: str) -> None:
        if self.naive.pop(name, None):
            self.mirror.remove(name)

    @rule(name=names, chain=prompts)
    def record(self, name: str, chain: tuple[int, ...]) -> None:
        if name in self.naive:
            record(self.mirror, name, chain)
            self.naive[name].record(chain)

    @rule(name=names, chain=prompts)
    def evict_what_follows(self, name: str, chain: tuple[int, ...]) -> None:
        """Of one chain, the last block and everything held behind it."""
        if name in self.naive and chain:
            held = self.naive[name].blocks
            gone = [b for b in held if _is_at_or_behind(b, chain[-1])]
            self.mirror.forget(name, [*gone, 999_999])
            self.naive[name].forget(gone)

    @rule(name=names)
    def clear(self, name: str) -> None:
        if name in self.naive:
            self.mirror.clear(name)
            self.naive[name].blocks = []

    @rule(name=names, blocks=st.integers(1, 8))
    def resize(self, name: str, blocks: int) -> None:
        if name in self.naive:
            self.mirror.resize(name, blocks * BLOCK_TOKENS)
            self.naive[name].capacity = blocks

    @rule(chain=prompts)
    def compare(self, chain: tuple[int, ...]) -> None:
        hits = {name: cache.hit(chain) for name, cache in self.naive.items()}
        assert {name: self.mirror.hit_blocks(name, chain) for name in self.naive} == hits
        longest = max(hits.values(), default=0)
        assert self.mirror.longest_run(chain) == longest
        assert {n: self.mirror.hit_blocks(n, chain, longest) for n in self.naive} == hits
        for block in chain:
            holders = {name for name, cache in self.naive.items() if block in cache.blocks}
            assert set(self.mirror.holders(block, 8)) == holders

    @invariant()
    def no_block_is_held_without_the_one_before_it(self) -> None:
        for name in self.naive:
            held = self.mirror._caches[name].held.keys()
            assert all(_before(block) in held or _before(block) == ROOT for block in held)

    @invariant()
    def holders_are_remembered_for_held_blocks_only(self) -> None:
        held = {b for cache in self.mirror._caches.values() for b in cache.held}
        assert self.mirror._holders.keys() == held


def _is_at_or_behind(block: int, first: int) -> bool:
    while block > first:
        block = _before(block)
    return block == first


TestMirrorAgainstNaiveCaches = MirrorAgainstNaiveCaches.TestCase
TestMirrorAgainstNaiveCaches.settings = settings(max_examples=60, stateful_step_count=40)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["record", "forget"]),
            st.lists(st.integers(0, 9), max_size=8),
        ),
        max_size=30,
    )
)
def test_ids_that_are_no_chains_and_events_with_gaps_break_nothing(
    operations: list[tuple[str, list[int]]],
) -> None:
    """A hit may be wrong then, until the blocks are sent again or leave; nothing else is."""
    mirror = a_mirror(a=5, b=5)
    for i, (operation, blocks) in enumerate(operations):
        name = "ab"[i % 2]
        if operation == "record":
            record(mirror, name, blocks)
        else:
            mirror.forget(name, blocks)
        assert 0 <= mirror.hit_blocks(name, blocks) <= len(blocks)
        held = {n: set(mirror._caches[n].held) for n in "ab"}
        assert all(len(blocks) <= 5 for blocks in held.values())
        for block in range(10):
            assert set(mirror.holders(block, 8)) == {n for n in "ab" if block in held[n]}
    for name in "ab":
        mirror.clear(name)
    record(mirror, "a", (1, 2, 3))
    assert mirror.hit_blocks("a", (1, 2, 3)) == 3


@given(prompts, st.integers(0, 8))
def test_the_hit_never_exceeds_prompt_or_cache(chain: tuple[int, ...], blocks: int) -> None:
    mirror = Mirror()
    mirror.add("a", blocks * BLOCK_TOKENS)
    record(mirror, "a", chain)
    assert mirror.hit_blocks("a", chain) == min(len(chain), blocks)
