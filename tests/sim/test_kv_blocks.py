"""The literal block list: order of reuse, hits, duplicates, eviction."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway_sim.engine.kv_blocks import Block, BlockPool


def _filled(pool: BlockPool, *hashes: int | None) -> list[Block]:
    """Blocks in use, head first, with this content; None: without a hash."""
    blocks, _ = pool.take(len(hashes))
    for block, block_hash in zip(blocks, hashes, strict=True):
        if block_hash is not None:
            pool.register(block, block_hash)
    return blocks


def _free_hashes(pool: BlockPool) -> list[int | None]:
    return [block_hash for _, block_hash in pool.free_order()]


def test_at_first_all_blocks_but_the_null_block_are_free_in_order_of_their_ids() -> None:
    assert BlockPool(5).free_order() == [(1, None), (2, None), (3, None), (4, None)]


def test_the_tail_of_a_chain_is_evicted_before_its_head() -> None:
    pool = BlockPool(4)
    pool.release(_filled(pool, 10, 11, 12))
    assert pool.take(2)[1] == [12, 11]
    assert [block.block_hash for block in pool.longest_hit([10, 11, 12])] == [10]


def test_unhashed_blocks_are_reused_before_all_others() -> None:
    pool = BlockPool(6)
    first = _filled(pool, 10)
    second = _filled(pool, 20, 21, None, None)
    pool.release(first)
    pool.release(second)
    # The last block of the second request was number 5, the one before it number 4.
    assert pool.free_order() == [(5, None), (4, None), (1, 10), (3, 21), (2, 20)]


def test_before_0_32_unhashed_blocks_wait_their_turn() -> None:
    pool = BlockPool(6, unhashed_free_to_front=False)
    first = _filled(pool, 10)
    second = _filled(pool, 20, 21, None, None)
    pool.release(first)
    pool.release(second)
    assert pool.free_order() == [(1, 10), (5, None), (4, None), (3, 21), (2, 20)]


def test_order_is_by_release_so_a_hit_on_a_block_in_use_moves_nothing() -> None:
    pool = BlockPool(4)
    early, late, both = _filled(pool, 1), _filled(pool, 2), _filled(pool, 3)
    pool.touch(both)
    pool.release(both)
    pool.release(late)
    pool.release(early)
    pool.release(both)
    assert _free_hashes(pool) == [2, 1, 3]


def test_a_hit_takes_a_free_block_out_of_the_middle() -> None:
    pool = BlockPool(4)
    for block_hash in (1, 2, 3):
        pool.release(_filled(pool, block_hash))
    pool.touch(pool.longest_hit([2]))
    assert _free_hashes(pool) == [1, 3]
    assert pool.usage == pytest.approx(1 / 3)


def test_a_shared_block_is_free_only_when_its_last_user_is_gone() -> None:
    pool = BlockPool(3)
    blocks = _filled(pool, 1)
    pool.touch(blocks)
    pool.release(blocks)
    assert pool.free_blocks == 1
    pool.release(blocks)
    assert pool.free_blocks == 2


def test_a_hit_ends_at_the_first_block_that_is_missing() -> None:
    pool = BlockPool(5)
    _filled(pool, 1, 2, 4)
    assert [block.block_hash for block in pool.longest_hit([1, 2, 3, 4])] == [1, 2]


def test_of_two_blocks_with_equal_content_the_first_registered_answers_until_it_is_evicted() -> (
    None
):
    pool = BlockPool(3)
    first, second = _filled(pool, 7), _filled(pool, 7)
    assert pool.longest_hit([7]) == first
    pool.release(first)
    # Evicting the first is announced although the second still answers.
    assert pool.take(1) == (first, [7])
    assert pool.longest_hit([7]) == second
    pool.release(second)
    assert pool.take(1) == (second, [7])
    assert pool.longest_hit([7]) == []


def test_an_evicted_block_comes_without_its_old_content() -> None:
    pool = BlockPool(2)
    pool.release(_filled(pool, 7))
    [block], evicted = pool.take(1)
    assert evicted == [7]
    assert block.block_hash is None
    pool.register(block, 8)
    assert pool.longest_hit([8]) == [block]


def test_everything_is_forgotten_only_while_no_block_is_in_use() -> None:
    pool = BlockPool(4)
    blocks = _filled(pool, 1, 2)
    assert not pool.forget_everything()
    assert pool.longest_hit([1, 2]) == blocks
    pool.release(blocks)
    order = [block_id for block_id, _ in pool.free_order()]
    assert pool.forget_everything()
    assert pool.longest_hit([1, 2]) == []
    assert pool.free_order() == [(block_id, None) for block_id in order]


class _PlainLists:
    """The same rules on plain lists: block id, hash and users, searched from end to end."""

    def __init__(self, num_blocks: int, *, unhashed_to_front: bool) -> None:
        self.free = list(range(1, num_blocks))
        self.hash_of: dict[int, int] = {}
        self.users = dict.fromkeys(self.free, 0)
        self.registered: list[int] = []
        self.unhashed_to_front = unhashed_to_front

    def hit(self, hashes: list[int]) -> list[int]:
        found = []
        for block_hash in hashes:
            holders = [b for b in self.registered if self.hash_of.get(b) == block_hash]
            if not holders:
                break
            found.append(holders[0])
        return found

    def touch(self, blocks: list[int]) -> None:
        for block in blocks:
            if block in self.free:
                self.free.remove(block)
            self.users[block] += 1

    def take(self, count: int) -> tuple[list[int], list[int]]:
        taken, self.free = self.free[:count], self.free[count:]
        evicted = []
        for block in taken:
            self.users[block] = 1
            if block in self.hash_of:
                evicted.append(self.hash_of.pop(block))
                self.registered.remove(block)
        return taken, evicted

    def register(self, block: int, block_hash: int) -> None:
        self.hash_of[block] = block_hash
        self.registered.append(block)

    def release(self, blocks: list[int]) -> None:
        for block in blocks:
            self.users[block] -= 1
        freed = [block for block in reversed(blocks) if self.users[block] == 0]
        if self.unhashed_to_front:
            self.free = [b for b in freed if b not in self.hash_of] + self.free
            freed = [b for b in freed if b in self.hash_of]
        self.free += freed


_OPERATION = st.tuples(
    st.sampled_from(["prompt", "release"]),
    st.integers(0, 7),  # which text, or which request
    st.integers(1, 6),  # its length in blocks
    st.integers(0, 6),  # blocks of it that are full
)


@settings(deadline=None)
@given(st.integers(2, 16), st.booleans(), st.lists(_OPERATION, max_size=60), st.integers(0, 3))
def test_the_linked_list_does_what_plain_lists_do(
    num_blocks: int,
    unhashed_to_front: bool,
    operations: list[tuple[str, int, int, int]],
    texts: int,
) -> None:
    pool = BlockPool(num_blocks, unhashed_free_to_front=unhashed_to_front)
    plain = _PlainLists(num_blocks, unhashed_to_front=unhashed_to_front)
    requests: list[list[Block]] = []
    for kind, which, length, full in operations:
        if kind == "release" and requests:
            blocks = requests.pop(which % len(requests))
            pool.release(blocks)
            plain.release([block.block_id for block in blocks])
        elif kind == "prompt":
            # A few texts, so that hits and duplicates are common.
            hashes = [100 * (which % (texts + 1)) + i for i in range(length)]
            hit = pool.longest_hit(hashes[: length - 1])
            assert [block.block_id for block in hit] == plain.hit(hashes[: length - 1])
            unused = sum(block.users == 0 for block in hit)
            if length - len(hit) + unused > pool.free_blocks:
                continue
            pool.touch(hit)
            plain.touch([block.block_id for block in hit])
            taken, evicted = pool.take(length - len(hit))
            assert ([block.block_id for block in taken], evicted) == plain.take(length - len(hit))
            blocks = hit + taken
            for index in range(len(hit), min(full, length)):
                pool.register(blocks[index], hashes[index])
                plain.register(blocks[index].block_id, hashes[index])
            requests.append(blocks)
        assert pool.free_order() == [(b, plain.hash_of.get(b)) for b in plain.free]
        in_use = {block for request in requests for block in request}
        assert pool.free_blocks + len(in_use) == num_blocks - 1
