"""Runs of blocks instead of blocks, and the ring in which the free ones wait for reuse.

Hashes are chained, so two chains that agree at one block agree at all blocks before it: comparing
the last hash of a run compares the whole run.
"""

from collections.abc import Callable, Iterator

from headway_sim.engine.sequence import Sequence

HashOf = Callable[[int], int]
"""Index of a block in its chain -> hash."""


class Run:
    """Blocks ``start`` to ``end`` of a chain, and all copies of them, first registered first.

    A copy always spans its whole run: where copies would differ, the run is split.
    """

    __slots__ = ("copies", "end", "grower", "hash_of", "is_open", "start")

    def __init__(self, start: int, end: int, hash_of: HashOf, copies: "list[Copy]") -> None:
        self.start = start
        self.end = end
        self.hash_of = hash_of
        self.copies = copies
        self.is_open = True
        """Only who entered it has ever held its end, so no other run goes on from there."""
        self.grower: Table | None = None
        """Who fills further blocks at its end that are not entered yet; it is open."""

    def common_end(self, hash_of: HashOf, limit: int) -> int:
        """Where another chain, equal at ``start``, leaves this run: at most ``limit``."""
        high = min(self.end, limit)
        mine = self.hash_of
        if mine(high - 1) == hash_of(high - 1):
            return high
        low = self.start + 1
        high -= 1
        while low < high:
            middle = (low + high + 1) // 2
            if mine(middle - 1) == hash_of(middle - 1):
                low = middle
            else:
                high = middle - 1
        return low


class Copy:
    """Blocks that hold a run, used by ``users`` requests; without a run, blocks without content."""

    __slots__ = ("after", "before", "blanks", "rest", "run", "users")

    def __init__(self, run: Run | None, users: int = 0, blanks: int = 0) -> None:
        self.run = run
        self.users = users
        self.blanks = blanks
        self.rest: Copy | None = None
        """What was split off its end.  Who took it into use before that uses both."""
        self.before: Copy | None = None
        self.after: Copy | None = None

    @property
    def blocks(self) -> int:
        return self.blanks if self.run is None else self.run.end - self.run.start


class Hit:
    """The longest leading run of some content in the cache.  ``len`` is in blocks."""

    __slots__ = ("blocks", "may_grow", "runs")

    def __init__(self, runs: list[Run], blocks: int, *, may_grow: bool) -> None:
        self.runs = runs
        self.blocks = blocks
        self.may_grow = may_grow
        """It is empty, or ends with a run that somebody uses, who may yet fill what comes next."""

    def __len__(self) -> int:
        return self.blocks

    def unused(self) -> int:
        """Blocks of it that nobody uses: taken into use, they leave the free list."""
        total = 0
        for run in self.runs:
            if run.copies[0].users == 0:
                total += min(run.end, self.blocks) - run.start
        return total


class Table:
    """What one request holds, head first: pieces of (copy, blocks), as taken into use."""

    __slots__ = ("owner", "pieces", "tail")

    def __init__(self, owner: Sequence) -> None:
        self.owner = owner
        self.pieces: list[tuple[Copy, int]] = []
        self.tail: Copy | None = None
        """What it has entered itself since its admission, last of all."""

    def extend_last(self, blocks: int) -> None:
        copy, before = self.pieces[-1]
        self.pieces[-1] = (copy, before + blocks)

    def copies(self) -> list[Copy]:
        """All that it holds, head first, as they are split by now."""
        found = []
        for copy, blocks in self.pieces:
            found.append(copy)
            left = blocks - copy.blocks
            while left > 0:
                assert copy.rest is not None, "a piece is as long as its parts"
                copy = copy.rest
                found.append(copy)
                left -= copy.blocks
        return found


class Ring:
    """Copies that nobody uses, in the order of reuse; each of them from its end."""

    __slots__ = ("_anchor",)

    def __init__(self) -> None:
        self._anchor = anchor = Copy(None)
        anchor.before = anchor.after = anchor

    def __iter__(self) -> Iterator[Copy]:
        copy = self.front
        while copy is not self._anchor:
            yield copy
            assert copy.after is not None
            copy = copy.after

    @property
    def front(self) -> Copy:
        """The next to be reused.  There must be one."""
        front = self._anchor.after
        assert front is not None
        return front

    @property
    def blanks_in_front(self) -> int:
        """Blocks that can be reused before content is lost."""
        front = self.front
        return front.blanks if front.run is None else 0

    def append(self, copy: Copy) -> None:
        self.insert(copy, self._anchor)

    def insert(self, copy: Copy, after: Copy) -> None:
        """Put ``copy`` in front of ``after``."""
        before = after.before
        assert before is not None
        copy.before, copy.after = before, after
        before.after = after.before = copy

    def remove(self, copy: Copy) -> None:
        before, after = copy.before, copy.after
        assert before is not None
        assert after is not None
        before.after, after.before = after, before
        copy.before = copy.after = None

    def prepend_blanks(self, blanks: int) -> None:
        front = self.front
        if front.run is None and front is not self._anchor:
            front.blanks += blanks
        else:
            self.insert(Copy(None, blanks=blanks), front)

    def append_blanks(self, blanks: int) -> None:
        last = self._anchor.before
        assert last is not None
        if last.run is None and last is not self._anchor:
            last.blanks += blanks
        else:
            self.append(Copy(None, blanks=blanks))

    def clear(self) -> None:
        self._anchor.before = self._anchor.after = self._anchor
