"""The KV cache as extents: the order of `headway_sim.engine.kv_blocks`, without its blocks.

Which physical block holds what never matters, only how many there are and in which order they are
reused.  So the free list is a ring of copies of runs, and of counts of blocks without content:

- Allocation takes blanks as blanks, and a copy from its end, so that of a chain the tail goes
  first.
- A release appends what nobody else uses, the end of the chain first.
- A hit takes copies out of the ring; one that ends inside a run splits it.
- Every cached block has its predecessor in the cache: who released it held that one too, and
  either released it later in the same breath or left it in use.  So the blocks after one that is
  missing are missing as well, and a look-up walks from run to run.

So costs are per run, not per block.
"""

from collections.abc import Callable

from headway_sim.fast_forward.runs import Copy, HashOf, Hit, Ring, Run, Table


class ExtentPool:
    """All blocks of an engine, and which content can be found in them."""

    def __init__(self, num_blocks: int, host_blocks: int, *, unhashed_free_to_front: bool) -> None:
        self._usable, self._in_all = num_blocks - 1, num_blocks - 1 + host_blocks
        self._unhashed_free_to_front = unhashed_free_to_front
        self.free_blocks = self._usable
        """Blocks that requests may yet take, whether or not they still hold content."""
        self._ring = Ring()
        self._ring.append_blanks(self._in_all)
        self._runs: dict[int, Run] = {}
        """By the hash of their first block."""
        self.filled: Callable[[Table], int] = _nothing
        """Blocks that a grower has filled, its leading ones included."""
        self.disturbed: list[tuple[Table, int]] = []
        """Those that can grow no longer, since others use or hold what they entered last; with the
        end of that."""

    @property
    def usage(self) -> float:
        """Share of the blocks that live requests use."""
        return 1 - self.free_blocks / self._usable

    @property
    def blanks_in_front(self) -> int:
        """So many can be taken before content is evicted."""
        return min(self._ring.blanks_in_front, self.free_blocks)

    def free_order(self) -> list[int | None]:
        """Hash of each free block (None: without content), the next to be reused first."""
        order: list[int | None] = []
        for copy in self._ring:
            run = copy.run
            if run is None:
                order += [None] * copy.blanks
            else:
                order += map(run.hash_of, reversed(range(run.start, run.end)))
        return order

    def longest_hit(self, hash_of: HashOf, limit: int) -> Hit:
        """Of the first ``limit`` blocks.  Changes nothing that can be seen."""
        runs: list[Run] = []
        known, index = self._runs, 0
        while index < limit:
            run = known.get(hash_of(index))
            if run is None:
                is_used = not runs or any(copy.users for copy in runs[-1].copies)
                return Hit(runs, index, may_grow=is_used)
            if run.grower is not None:
                self.catch_up(run.grower)
            runs.append(run)
            index = run.common_end(hash_of, limit)
            if index < run.end:
                break
        return Hit(runs, index, may_grow=False)

    def touch(self, table: Table, hit: Hit) -> None:
        """Take a hit into use, once more where others use it already.  The table is empty."""
        for run in hit.runs:
            if run.end > hit.blocks:
                self._split(run, hit.blocks)
            self._close(run)
            copy = run.copies[0]
            blocks = run.end - run.start
            if copy.users == 0:
                self._ring.remove(copy)
                self.free_blocks -= blocks
            copy.users += 1
            table.pieces.append((copy, blocks))

    def take(self, count: int, evicted: list[int] | None = None) -> None:
        """Take ``count`` blocks for new content; append the hashes that go, in order.

        A hash that another copy still answers for is among them too.
        """
        assert count <= self.free_blocks, "the caller checks that they fit"
        self.free_blocks -= count
        while count:
            front = self._ring.front
            run = front.run
            if run is None:
                taken = min(front.blanks, count)
                front.blanks -= taken
                if front.blanks == 0:
                    self._ring.remove(front)
            else:
                taken = min(run.end - run.start, count)
                if evicted is not None:
                    evicted += map(run.hash_of, range(run.end - 1, run.end - taken - 1, -1))
                self._evict(front, run, taken)
            count -= taken

    def register(self, table: Table, first: int, full: int, hash_of: HashOf) -> None:
        """Let blocks ``first`` to ``full`` of a request answer for their hashes, after those that
        do already."""
        known = self._runs
        index = first
        while index < full:
            found = known.get(hash_of(index))
            if found is None:
                self._enter(table, index, full, hash_of)
                return
            if found.grower is not None:
                self.catch_up(found.grower)
            end = found.common_end(hash_of, full)
            if end < found.end:
                self._split(found, end)
            self._close(found)
            copy = Copy(found, users=1)
            found.copies.append(copy)
            table.pieces.append((copy, end - index))
            table.tail = None
            index = end

    def release(self, table: Table, unhashed: int) -> None:
        """Give back all that a request holds, and ``unhashed`` blocks without content after it."""
        ring = self._ring
        self.free_blocks += unhashed
        if unhashed:
            if self._unhashed_free_to_front:
                ring.prepend_blanks(unhashed)
            else:
                ring.append_blanks(unhashed)
        for copy in reversed(table.copies()):
            copy.users -= 1
            if copy.users == 0:
                self.free_blocks += copy.blocks
                ring.append(copy)

    def forget_everything(self) -> bool:
        """Drop all content, if no request uses any; return whether that was done."""
        if self.free_blocks != self._usable:
            return False
        self._runs.clear()
        self._ring.clear()
        self._ring.append_blanks(self._in_all)
        return True

    def let_grow(self, table: Table, registered: int) -> bool:
        """From now on enter what it fills when somebody looks; False: that cannot be.

        It can while what it entered last is its own and nobody else's.
        """
        tail = table.tail
        if tail is None or tail.run is None or not tail.run.is_open or tail.run.end != registered:
            return False
        tail.run.grower = table
        return True

    def stop_growing(self, table: Table) -> int | None:
        """Enter what it has filled by now, and nothing more by itself.

        Returns where its entered blocks end; None: it did not grow.
        """
        tail = table.tail
        if tail is None or tail.run is None or tail.run.grower is not table:
            return None
        self.catch_up(table)
        tail.run.grower = None
        return tail.run.end

    def catch_up(self, table: Table) -> None:
        """Enter what a grower has filled by now."""
        tail = table.tail
        assert tail is not None
        run = tail.run
        assert run is not None
        grown = self.filled(table) - run.end
        if grown > 0:
            run.end += grown
            table.extend_last(grown)

    def _close(self, run: Run) -> None:
        run.is_open = False
        if run.grower is not None:
            self.disturbed.append((run.grower, run.end))
            run.grower = None

    def _enter(self, table: Table, index: int, full: int, hash_of: HashOf) -> None:
        """New content: longer than what the request has entered last, or a run of its own."""
        tail = table.tail
        if tail is not None and tail.run is not None:
            run = tail.run
            if run.is_open and run.end == index:
                run.end = full
                table.extend_last(full - index)
                return
        table.tail = copy = Copy(None, users=1)
        copy.run = self._runs[hash_of(index)] = Run(index, full, hash_of, [copy])
        table.pieces.append((copy, full - index))

    def _split(self, run: Run, at: int) -> None:
        copies: list[Copy] = []
        rest = Run(at, run.end, run.hash_of, copies)
        for copy in run.copies:
            split_off = Copy(rest, users=copy.users)
            split_off.rest, copy.rest = copy.rest, split_off
            copies.append(split_off)
            if copy.users == 0:
                self._ring.insert(split_off, copy)
        self._runs[run.hash_of(at)] = rest
        run.end = at
        rest.is_open, run.is_open = run.is_open, False
        grower = run.grower
        if grower is not None:
            run.grower, rest.grower = None, grower
            grower.tail = copies[0]

    def _evict(self, front: Copy, run: Run, blocks: int) -> None:
        """Drop the last ``blocks`` of the copy in front."""
        if blocks < run.end - run.start:
            if len(run.copies) == 1:
                # Nothing follows in the cache: that would have been evicted before.
                run.end -= blocks
                return
            self._split(run, run.end - blocks)
            assert front.rest is not None
            front = front.rest
            assert front.run is not None
            run = front.run
        self._ring.remove(front)
        run.copies.remove(front)
        front.rest = None
        if not run.copies:
            del self._runs[run.hash_of(run.start)]


def _nothing(_: Table) -> int:
    return 0
