"""The KV cache as a literal list of blocks, in vLLM's order of reuse and eviction.

One doubly linked list holds every block that no request uses.  Its front is reused next; a
block that still has a hash when its turn comes is thereby evicted.

- A request's blocks come back tail first, so the tail of a chain is evicted before its head.
  Blocks with a hash go to the list's tail; blocks without one go to its front (0.32), or to the
  tail like the others (0.15).
- A hit takes blocks out of the middle.  Blocks in use do not move, so the order is by time of
  release, not of access.
- Two requests that compute equal content keep two blocks under one hash.  The one that was
  registered first answers; when it is evicted, the next one does.

Source: ``vllm/v1/core/block_pool.py`` of 0.32.0.  Nothing here is clever: it is the oracle that
a faster pool is compared with.
"""

from collections.abc import Iterable, Iterator, Sequence


class Block:
    """A physical block: its content's hash, how many requests use it, and its place in the list."""

    __slots__ = ("after", "before", "block_hash", "block_id", "users")

    def __init__(self, block_id: int) -> None:
        self.block_id = block_id
        self.block_hash: int | None = None
        self.users = 0
        self.before: Block | None = None
        self.after: Block | None = None


class FreeList:
    """A doubly linked list of blocks with a sentinel at either end."""

    __slots__ = ("_front", "_rear", "length")

    def __init__(self) -> None:
        self._front = Block(-1)
        self._rear = Block(-2)
        self._front.after = self._rear
        self._rear.before = self._front
        self.length = 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Block]:
        """In the order of reuse."""
        block = self._front.after
        while block is not None and block is not self._rear:
            yield block
            block = block.after

    def append(self, blocks: Iterable[Block]) -> None:
        """Put them at the tail: the first of them is reused first."""
        for block in blocks:
            last = self._rear.before
            assert last is not None
            self._link(last, block, self._rear)

    def prepend(self, blocks: Iterable[Block]) -> None:
        """Put them in front of all others: the first of them is reused next."""
        left = self._front
        right = left.after
        assert right is not None
        for block in blocks:
            self._link(left, block, right)
            left = block

    def remove(self, block: Block) -> None:
        before, after = block.before, block.after
        assert before is not None, "the block is in use already"
        assert after is not None
        before.after = after
        after.before = before
        block.before = block.after = None
        self.length -= 1

    def pop_front(self) -> Block:
        block = self._front.after
        assert block is not None
        assert block is not self._rear, "no block is free"
        self.remove(block)
        return block

    def _link(self, left: Block, block: Block, right: Block) -> None:
        left.after = block
        block.before = left
        block.after = right
        right.before = block
        self.length += 1


class BlockPool:
    """All blocks of an engine, and which content can be found in them.

    ``host_blocks`` more keep content, but never more than ``num_blocks - 1`` are in use: content
    that leaves the one tier for the other keeps its turn, so one list orders both.
    """

    def __init__(
        self, num_blocks: int, *, host_blocks: int = 0, unhashed_free_to_front: bool = True
    ) -> None:
        self._usable = num_blocks - 1
        self._host_blocks = host_blocks
        self._unhashed_free_to_front = unhashed_free_to_front
        self._free = FreeList()
        # Block 0 is the null block: never handed out, so it is never in the list.
        self._free.append(Block(block_id) for block_id in range(1, num_blocks + host_blocks))
        # Blocks under one hash in the order of registration: dicts keep it.
        self._cached: dict[int, dict[int, Block]] = {}

    @property
    def free_blocks(self) -> int:
        """Blocks that requests may yet take, whether or not they still hold content."""
        return self._free.length - self._host_blocks

    @property
    def usable_blocks(self) -> int:
        return self._usable

    @property
    def usage(self) -> float:
        """Share of the blocks that live requests use: ``1 - free / (num_blocks - 1)``."""
        return 1 - self.free_blocks / self._usable

    def free_order(self) -> list[tuple[int, int | None]]:
        """(block id, hash) of the free blocks, the next to be reused first."""
        return [(block.block_id, block.block_hash) for block in self._free]

    def longest_hit(self, hashes: Iterable[int]) -> list[Block]:
        """Blocks that hold the longest leading run of this content.  Changes nothing."""
        hit = []
        cached = self._cached
        for block_hash in hashes:
            blocks = cached.get(block_hash)
            if blocks is None:
                break
            hit.append(next(iter(blocks.values())))
        return hit

    def touch(self, blocks: Iterable[Block]) -> None:
        """Take a hit into use, once more where others use it already."""
        for block in blocks:
            if block.users == 0:
                self._free.remove(block)
            block.users += 1

    def take(self, count: int) -> tuple[list[Block], list[int]]:
        """Take ``count`` blocks for new content.

        Returns them with the hashes that were evicted, in order.  A hash that another block
        still answers for is among them too: vLLM announces every eviction of a block.
        """
        assert count <= self.free_blocks, "the caller checks that they fit"
        taken = []
        evicted = []
        for _ in range(count):
            block = self._free.pop_front()
            if block.block_hash is not None:
                evicted.append(block.block_hash)
                self._forget(block)
            block.users = 1
            taken.append(block)
        return taken, evicted

    def register(self, block: Block, block_hash: int) -> None:
        """Let this block answer for ``block_hash``, after those that do already."""
        assert block.block_hash is None, "a block is registered once"
        block.block_hash = block_hash
        self._cached.setdefault(block_hash, {})[block.block_id] = block

    def release(self, blocks: Sequence[Block]) -> None:
        """Give back a request's blocks, listed head first."""
        hashed: list[Block] = []
        unhashed: list[Block] = hashed if not self._unhashed_free_to_front else []
        for block in reversed(blocks):
            block.users -= 1
            if block.users == 0:
                (unhashed if block.block_hash is None else hashed).append(block)
        if self._unhashed_free_to_front:
            self._free.prepend(unhashed)
        self._free.append(hashed)

    def forget_everything(self) -> bool:
        """Drop all content, if no request uses any; return whether that was done.

        The order of the free list stays.
        """
        if self.free_blocks != self._usable:
            return False
        for block in self._free:
            block.block_hash = None
        self._cached.clear()
        return True

    def _forget(self, block: Block) -> None:
        assert block.block_hash is not None
        blocks = self._cached[block.block_hash]
        del blocks[block.block_id]
        if not blocks:
            del self._cached[block.block_hash]
        block.block_hash = None
