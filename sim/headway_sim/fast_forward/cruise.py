"""Requests that decode in step: each gets a token from every batch, so all are told by one number.

Batches that compute something are numbered.  A request whose first token (since its admission)
comes from batch ``f``, when it had ``t`` tokens, keeps ``shift = t - f``, and

    computed tokens, once batch b is composed    shift + b
    known tokens, once batch b has ended         shift + b + 1
    KV tokens that batch b finds                 sum of shifts + requests * (b - 1)
    needs a block for batch b                    if shift + b - 1 is a multiple of the block size

so a batch costs nothing per request, but where one joins or leaves.
"""

import heapq
from math import inf

from headway_sim.engine.sequence import Sequence


class Member:
    """A running request."""

    __slots__ = (
        "fills",
        "first",
        "is_certain",
        "is_cruising",
        "last",
        "place",
        "sequence",
        "shift",
        "tokens",
    )

    def __init__(self, sequence: Sequence) -> None:
        self.sequence = sequence
        self.place = 0
        """Rank among the running ones, in order of admission."""
        self.tokens = sequence.tokens
        """Known before batch ``first`` ended."""
        self.first = 0
        """The batch that gives it a token for the first time; 0: not composed yet."""
        self.last = 0
        """The batch that gives it its last token."""
        self.shift = 0
        self.is_certain = False
        """The scheduler knows that ``last`` is its last, and leaves it out of the next one."""
        self.fills = False
        """What it generates can be reused, so full blocks enter the cache."""
        self.is_cruising = False

    def join(self, first: int, tokens: int) -> None:
        sequence = self.sequence
        self.first, self.tokens, self.shift = first, tokens, tokens - first
        self.last = sequence.end - self.shift - 1
        self.is_certain = sequence.certain_end == sequence.end
        self.fills = sequence.registered < sequence.hashable_blocks


class Cruise:
    """All members that are in every batch, from the one after the last composed."""

    def __init__(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self.members: dict[Member, None] = {}
        self.last_place = -1
        """No member stands behind it."""
        self.shifts = 0
        """Sum."""
        self.fillers = 0
        """Members who have blocks yet to enter in the cache."""
        self._needs = [0] * block_tokens
        """By batch number modulo block size: how many need a block then."""
        self._ends: list[tuple[int, int, Member]] = []
        self._due: dict[int, dict[Member, None]] = {}
        self.has_due = False
        """There are members to look after when they fill a block."""

    def clear(self) -> None:
        self.members.clear()
        self.last_place = -1
        self.shifts = self.fillers = 0
        self._needs = [0] * self._block_tokens
        self._ends.clear()
        self._due.clear()
        self.has_due = False

    @property
    def next_end(self) -> int:
        """The first batch that is somebody's last.  There must be members, or have been."""
        return self._ends[0][0]

    def add(self, member: Member) -> None:
        member.is_cruising = True
        self.members[member] = None
        self.last_place = max(self.last_place, member.place)
        self.shifts += member.shift
        self.fillers += member.fills
        self._needs[(1 - member.shift) % self._block_tokens] += 1
        heapq.heappush(self._ends, (member.last, member.place, member))

    def remove(self, member: Member) -> None:
        member.is_cruising = False
        del self.members[member]
        if not self.members:
            self.last_place = -1
        self.shifts -= member.shift
        self.fillers -= member.fills
        self._needs[(1 - member.shift) % self._block_tokens] -= 1
        if self._due:
            self._end_duty(member)

    def has_end(self, batch: int) -> bool:
        """Whether ``batch``, or an earlier one, is somebody's last."""
        return bool(self._ends) and self._ends[0][0] <= batch

    def ended(self, batch: int) -> list[Member]:
        """Take those whose last batch is ``batch`` or an earlier one off the list of ends."""
        ends, found = self._ends, []
        while ends and ends[0][0] <= batch:
            found.append(heapq.heappop(ends)[2])
        return found

    def kv_tokens(self, batch: int) -> int:
        """That ``batch`` finds in the cache."""
        return self.shifts + len(self.members) * (batch - 1)

    def need(self, first: int, batches: int = 1) -> int:
        """Blocks that are needed for so many batches, from ``first`` on."""
        size = self._block_tokens
        if batches == 1:
            return self._needs[first % size]
        rounds, left = divmod(batches, size)
        return rounds * len(self.members) + self._partial(first % size, left)

    def batches_within(self, first: int, blocks: int, most: int) -> int:
        """How many batches, from ``first`` on, ``blocks`` suffice for: at most ``most``."""
        size, count = self._block_tokens, len(self.members)
        if blocks >= count * (most // size + 1):
            return most
        rounds, blocks = divmod(blocks, count)
        batches = rounds * size
        while batches < most:
            blocks -= self._needs[(first + batches) % size]
            if blocks < 0:
                break
            batches += 1
        return min(batches, most)

    def takers(self, batch: int) -> list[Member]:
        """Who needs a block for ``batch``."""
        size = self._block_tokens
        return [m for m in self.members if (m.shift + batch - 1) % size == 0]

    # -- members whose blocks have to be entered in the cache as soon as they are full -----------

    def make_due(self, member: Member) -> None:
        residue = -member.shift % self._block_tokens
        self._due.setdefault(residue, {})[member] = None
        self.has_due = True

    def due(self, tokens: int) -> list[Member]:
        """Those for whom ``shift + tokens`` fill a block."""
        return list(self._due.get(tokens % self._block_tokens, ()))

    def end_duty(self, member: Member) -> None:
        if self._due:
            self._end_duty(member)

    def until_due(self, tokens: int) -> float:
        """How much ``tokens`` may grow before somebody is due."""
        if not self._due:
            return inf
        size = self._block_tokens
        return min((residue - tokens - 1) % size for residue in self._due)

    def _end_duty(self, member: Member) -> None:
        residue = -member.shift % self._block_tokens
        due = self._due.get(residue)
        if due is not None:
            due.pop(member, None)
            if not due:
                del self._due[residue]
                self.has_due = bool(self._due)

    def _partial(self, start: int, count: int) -> int:
        needs, end = self._needs, start + count
        if end <= self._block_tokens:
            return sum(needs[start:end])
        return sum(needs[start:]) + sum(needs[: end - self._block_tokens])
