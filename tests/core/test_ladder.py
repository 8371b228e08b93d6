"""How deep a prompt is hashed: deeper where its beginning is common, shallower again later."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from headway_core.affinity.ladder import MIN_REQUESTS, WINDOW_REQUESTS, Ladder
from headway_core.testing import BLOCK_TOKENS, a_chain, snapshot

FIRST_RUNG = 4
"""Blocks of 256 tokens in the first rung of 1,024."""


def record(ladder: Ladder, *prompts: Sequence[int], endpoints: int = 8) -> None:
    for blocks in prompts:
        ladder.record(blocks, BLOCK_TOKENS, endpoints)


def key(ladder: Ladder, blocks: Sequence[int]) -> int:
    return ladder.key(blocks, BLOCK_TOKENS)


def under(root: Sequence[int], name: int, blocks: int) -> tuple[int, ...]:
    """A prompt that begins with ``root``."""
    return (*root, *a_chain(name, blocks - len(root)))


def test_an_unknown_prompt_is_hashed_at_the_first_rung() -> None:
    blocks = a_chain(1, 20)
    assert key(Ladder(), blocks) == blocks[FIRST_RUNG - 1]


def test_a_prompt_below_the_first_rung_is_hashed_as_far_as_it_goes() -> None:
    assert key(Ladder(), (5, 6)) == 6


def test_a_root_that_everybody_sends_is_passed_over() -> None:
    root, ladder = a_chain(0, FIRST_RUNG), Ladder()
    record(ladder, *(under(root, i, 20) for i in range(1, 201)))
    keys = {key(ladder, under(root, i, 20)) for i in range(1, 201)}
    assert len(keys) == 200


def test_a_hot_prefix_is_hashed_one_rung_deeper_and_others_are_not() -> None:
    hot, cold, ladder = a_chain(1, 20), a_chain(2, 20), Ladder()
    for i in range(200):
        record(ladder, hot if i % 2 else a_chain(100 + i, 20))
    record(ladder, cold)
    assert key(ladder, hot) == hot[-1], "one that is hot as a whole is hashed as a whole"
    assert key(ladder, cold) == cold[FIRST_RUNG - 1]


def test_nothing_is_hot_among_the_first_requests() -> None:
    hot, ladder = a_chain(1, 20), Ladder()
    record(ladder, *[hot] * (MIN_REQUESTS - 1))
    assert key(ladder, hot) == hot[FIRST_RUNG - 1]
    record(ladder, hot)
    assert key(ladder, hot) != hot[FIRST_RUNG - 1]


def test_a_share_below_twice_the_fair_one_is_not_hot() -> None:
    blocks, ladder = a_chain(1, 20), Ladder()
    for i in range(400):
        record(ladder, blocks if i % 5 == 0 else a_chain(100 + i, 20))
    assert key(ladder, blocks) == blocks[FIRST_RUNG - 1]


def test_a_hot_prefix_cools_only_below_the_fair_share() -> None:
    hot, ladder = a_chain(1, 20), Ladder()
    record(ladder, *[hot] * MIN_REQUESTS)

    def send(total: int, every: int) -> None:
        for i in range(total):
            record(ladder, hot if i % every == 0 else a_chain(1000 + i, 20))

    send(WINDOW_REQUESTS, every=6)
    assert key(ladder, hot) != hot[FIRST_RUNG - 1], "1/6 lies between 1/8 and 2/8: still hot"
    send(WINDOW_REQUESTS, every=10)
    assert key(ladder, hot) == hot[FIRST_RUNG - 1]


def test_a_prefix_that_left_the_window_is_forgotten() -> None:
    hot, ladder = a_chain(1, 20), Ladder()
    record(ladder, *[hot] * MIN_REQUESTS)
    record(ladder, *(a_chain(10 + i, 20) for i in range(WINDOW_REQUESTS)))
    assert key(ladder, hot) == hot[FIRST_RUNG - 1]


def test_memory_is_bounded_by_the_window() -> None:
    ladder = Ladder()
    record(ladder, *(a_chain(i, 20) for i in range(3 * WINDOW_REQUESTS)))
    assert len(ladder._window) == WINDOW_REQUESTS
    assert len(ladder._counts) == 3 * WINDOW_REQUESTS, "20 blocks reach three rungs"
    assert not ladder._hot


def test_with_two_endpoints_the_pair_is_everybody_and_nothing_is_hot() -> None:
    hot, ladder = a_chain(1, 20), Ladder()
    record(ladder, *[hot] * 500, endpoints=2)
    assert key(ladder, hot) == hot[FIRST_RUNG - 1]


def test_rungs_shorter_than_a_block_are_counted_once() -> None:
    """Blocks of 4,096 tokens: the rungs of 1,024 to 4,096 are all the first block."""
    ladder = Ladder()
    for i in range(400):
        chain = a_chain(1 if i % 5 == 0 else 100 + i, 3)
        ladder.record(chain, 4096, 8)
    assert ladder.key(a_chain(1, 3), 4096) == a_chain(1, 3)[0], "a share of 1/5 is not above 2/8"


@given(st.integers(1, 100), st.integers(1, 300_000))
def test_the_key_is_a_block_of_the_prompt_whatever_the_block_size(
    blocks: int, block_tokens: int
) -> None:
    ladder, chain = Ladder(), a_chain(1, blocks)
    for _ in range(MIN_REQUESTS + 1):
        ladder.record(chain, block_tokens, 8)
    assert ladder.key(chain, block_tokens) == chain[-1]


@given(
    before=st.lists(st.integers(0, 6), min_size=1, max_size=30),
    rounds=st.sampled_from([1, 100]),
    blocks=st.integers(1, 20),
)
def test_what_is_only_supposed_decides_alike_and_leaves_nothing(
    before: list[int], rounds: int, blocks: int
) -> None:
    ladder, asked = Ladder(), a_chain(0, blocks)
    record(ladder, *(a_chain(name, 20) for _ in range(rounds) for name in before), endpoints=4)
    state = snapshot(ladder)
    with ladder.supposing(asked, BLOCK_TOKENS, 4):
        supposed = key(ladder, asked)
    assert snapshot(ladder) == state
    record(ladder, asked, endpoints=4)
    assert key(ladder, asked) == supposed
