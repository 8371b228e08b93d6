"""An engine's blocks joined to ours: examples, and laws on random lives of a cache."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_core.events import BlocksRemoved, BlocksStored, CacheCleared
from headway_core.facts import InferenceRequest
from headway_router.kv_events.join import CacheEvent, EngineCache, Overflow
from headway_router.kv_events.outcomes import StoredOutcome
from headway_router.kv_events.prompts import Prompts
from headway_router.kv_events.wire import Cleared, Removed, Stored
from headway_router.openai.ratios import TokenRatios

ENGINE = "10.0.0.1:8000"
BLOCK = 64
"""Tokens in an engine block; at 256 in one of ours, four lie in each."""


class Joined:
    """An engine's cache, the prompts sent to it, and the blocks that a mirror would hold."""

    def __init__(self, max_blocks: int = 100_000) -> None:
        self.prompts = Prompts(TokenRatios())
        self.cache = EngineCache(ENGINE, self.prompts.get, max_blocks=max_blocks)
        self.held: set[int] = set()

    def sent(self, request_id: str, blocks: Sequence[int], tokens: int | None = None) -> None:
        """``tokens``: what the router takes the prompt for; None: what it is."""
        size = 1024 * len(blocks)
        tokens = size // 4 if tokens is None else tokens
        request = InferenceRequest(
            request_id=request_id,
            requested_model="m",
            prompt_tokens=tokens,
            blocks=tuple(blocks),
            content_bytes=size,
        )
        self.prompts.sent("m", request)

    def stored(
        self, session: str | None, blocks: Sequence[int], parent: int | None = None
    ) -> CacheEvent | None:
        return self._told(self.cache.apply(Stored(tuple(blocks), parent, BLOCK, session)))

    def removed(self, *blocks: int) -> CacheEvent | None:
        return self._told(self.cache.apply(Removed(blocks)))

    def _told(self, event: CacheEvent | None) -> CacheEvent | None:
        match event:
            case BlocksStored():
                self.held.update(event.blocks)
            case BlocksRemoved():
                self.held.difference_update(event.blocks)
            case CacheCleared():
                self.held.clear()
        return event


def test_engine_blocks_become_ours_by_depth() -> None:
    joined = Joined()
    joined.sent("r", [1, 2, 3])
    assert joined.stored("r", range(100, 106)) == BlocksStored(ENGINE, (1,), 256)
    assert joined.stored("r", range(106, 112), parent=105) == BlocksStored(ENGINE, (1, 2, 3), 256)
    assert joined.cache.take_stored() == {StoredOutcome.JOINED: 12}


def test_blocks_of_the_answer_add_nothing() -> None:
    joined = Joined()
    joined.sent("r", [1])
    joined.stored("r", range(100, 104))
    assert joined.stored("r", [104], parent=103) is None
    assert joined.stored("r", [105], parent=104) is None
    assert joined.removed(105) is None
    assert joined.held == {1}


def test_a_block_of_ours_is_gone_with_the_last_of_its_engine_blocks() -> None:
    joined = Joined()
    joined.sent("r", [1, 2])
    joined.stored("r", range(100, 108))
    told = [joined.removed(block) for block in reversed(range(100, 108))]
    assert told == [
        *(None, None, None, BlocksRemoved(ENGINE, (2,))),
        *(None, None, None, BlocksRemoved(ENGINE, (1,))),
    ]
    assert len(joined.cache) == 0


def test_a_second_copy_keeps_a_block() -> None:
    joined = Joined()
    for request_id in ("r", "s"):
        joined.sent(request_id, [1])
        joined.stored(request_id, range(100, 104))
    assert [joined.removed(block) for block in range(100, 104)] == [None] * 4
    assert joined.held == {1}
    assert [joined.removed(block) for block in range(100, 104)][3] == BlocksRemoved(ENGINE, (1,))


def test_only_new_blocks_are_told_and_the_parent_leads_to_the_shared_ones() -> None:
    joined = Joined()
    joined.sent("r", [1, 2])
    joined.stored("r", range(100, 108))
    joined.sent("s", [1, 2, 30])
    assert joined.stored("s", range(300, 304), parent=107) == BlocksStored(ENGINE, (1, 2, 30), 256)
    for block in reversed(range(300, 304)):
        joined.removed(block)
    assert joined.held == {1, 2}


def test_a_shared_head_ties_depths_to_blocks_however_wrong_the_ratio_is() -> None:
    """Its tokens are taken for half of what they are: by that the tail would lie in the head."""
    joined = Joined()
    joined.sent("r", [1, 2, 3, 4])
    joined.stored("r", range(100, 116))
    joined.sent("s", [1, 2, 3, 4, 50], tokens=1900)
    joined.stored("s", range(500, 504), parent=115)
    for block in reversed(range(500, 504)):
        joined.removed(block)
    assert joined.held == {1, 2, 3, 4}


def test_what_another_router_sent_has_a_depth_and_is_taken_over_by_who_finds_it() -> None:
    joined = Joined()
    joined.stored("of another router", range(100, 108))
    assert joined.cache.take_stored() == {StoredOutcome.FOREIGN: 8}
    joined.sent("s", [1, 2, 3])
    assert joined.stored("s", range(300, 304), parent=107) == BlocksStored(ENGINE, (1, 2, 3), 256)
    for block in reversed(range(300, 304)):
        joined.removed(block)
    for block in reversed(range(104, 108)):
        joined.removed(block)
    assert joined.held == {1}


def test_a_parent_that_was_never_told_leaves_no_depth() -> None:
    joined = Joined()
    joined.sent("r", [1, 2])
    assert joined.stored("r", [200], parent=199) is None
    assert joined.stored("r", [201], parent=200) is None
    assert joined.removed(201) is None
    assert joined.cache.take_stored() == {StoredOutcome.UNKNOWN_PARENT: 2}


def test_an_engine_that_names_no_session_says_so_until_it_does() -> None:
    joined = Joined()
    joined.sent("r", [1])
    joined.stored(None, [100])
    assert joined.cache.take_stored() == {StoredOutcome.NO_SESSION: 1}
    joined.stored("r", [101])
    joined.stored(None, [102])
    counted = joined.cache.take_stored()
    assert counted == {StoredOutcome.JOINED: 1, StoredOutcome.FOREIGN: 1}


def test_a_reset_of_the_cache_clears_everything() -> None:
    joined = Joined()
    joined.sent("r", [1])
    joined.stored("r", range(100, 104))
    assert joined.cache.apply(Cleared()) == CacheCleared(ENGINE)
    assert len(joined.cache) == 0
    assert joined.removed(100) is None


def test_more_blocks_than_an_engine_holds_are_refused() -> None:
    joined = Joined(max_blocks=10)
    with pytest.raises(Overflow):
        joined.stored(None, range(11))


def test_a_forgotten_request_is_a_strangers() -> None:
    prompts = Prompts(TokenRatios(), max_prompts=2, max_blocks=10)
    for number, length in enumerate((3, 3, 3, 8)):
        blocks = tuple(range(number * 10, number * 10 + length))
        prompts.sent(
            "m",
            InferenceRequest(
                request_id=f"r{number}", requested_model="m", prompt_tokens=1, blocks=blocks
            ),
        )
        assert len(prompts) <= 2
    assert [prompts.get(f"r{number}") is not None for number in range(4)] == [False] * 3 + [True]


class Engine:
    """A small cache of engine blocks as vLLM keeps it: tails go before heads.

    A prompt is a tuple of our blocks, of four engine blocks each.
    """

    def __init__(self, joined: Joined, capacity: int) -> None:
        self.joined = joined
        self.capacity = capacity
        self.order: list[tuple[int, ...]] = []
        """Engine blocks in the order in which they are evicted, each named by its path."""
        self.requests = 0

    def serve(self, prompt: tuple[int, ...]) -> None:
        paths = [
            (*prompt[: depth // 4], *([prompt[depth // 4]] * (1 + depth % 4)))
            for depth in range(4 * len(prompt))
        ]
        hit = 0
        while hit < len(paths) and paths[hit] in self.order:
            hit += 1
        self.order = [path for path in self.order if path not in paths[:hit]]
        while len(self.order) + len(paths) > self.capacity and self.order:
            self.joined.removed(hash(self.order.pop(0)))
        self.requests += 1
        name = f"r{self.requests}"
        self.joined.sent(name, [hash(prompt[: i + 1]) for i in range(len(prompt))])
        new = [path for path in paths[hit:] if path not in self.order]
        if new:
            parent = hash(paths[hit - 1]) if hit else None
            self.joined.stored(name, [hash(path) for path in new], parent)
        self.order += reversed(paths)

    def holds(self) -> set[int]:
        """Our blocks of which some engine block is there, with all before it."""
        return {hash(path[: len(set(path))]) for path in self.order}


prompts_of_a_life = st.lists(
    st.lists(st.integers(1, 3), min_size=1, max_size=4).map(
        lambda choices: tuple(10 * depth + one for depth, one in enumerate(choices, 1))
    ),
    max_size=25,
)


@given(prompts_of_a_life, st.integers(20, 60))
def test_through_a_whole_life_exactly_what_the_engine_holds_is_held(
    prompts: list[tuple[int, ...]], capacity: int
) -> None:
    joined = Joined()
    engine = Engine(joined, capacity)
    for prompt in prompts:
        engine.serve(prompt)
        assert joined.held == engine.holds()
        assert len(joined.cache) == len(engine.order)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["stored", "removed"]),
            st.lists(st.integers(0, 12), min_size=1, max_size=4),
            st.sampled_from([None, *range(13)]),
            st.sampled_from(["r", "s", "of another", None]),
        ),
        max_size=60,
    )
)
def test_no_nonsense_breaks_it(
    told: list[tuple[str, list[int], int | None, str | None]],
) -> None:
    """Whatever an engine tells: no exception, and no block of ours is held without those before."""
    joined = Joined()
    joined.sent("r", [1, 2, 3])
    joined.sent("s", [1, 2, 4, 5], tokens=100)
    for kind, blocks, parent, session in told:
        if kind == "stored":
            joined.stored(session, blocks, parent)
        else:
            joined.removed(*blocks)
        for chain in ([1, 2, 3], [1, 2, 4, 5]):
            there = [block in joined.held for block in chain]
            assert there == sorted(there, reverse=True)
