"""Blocks for all that run, and the entering of those that they fill, each in its turn.

The order of requests within a batch can be seen: in the events of a cache, and in who is first to
answer for content that two of them compute.  Where it cannot, blocks are only counted.
"""

import heapq
from math import inf

from headway_sim.engine.sequence import Sequence
from headway_sim.fast_forward.cruise import Cruise, Member
from headway_sim.fast_forward.extent_cache import ExtentCache
from headway_sim.fast_forward.runs import Table

Plan = list[tuple[Member, int]]
"""New tokens of those whose prompt is being computed, in order of admission."""


class Blocks:
    """The requests of a flight as users of a cache."""

    def __init__(self, block_tokens: int, kv: ExtentCache, cruise: Cruise) -> None:
        self._block_tokens = block_tokens
        self._kv = kv
        self._cruise = cruise
        kv.pool.filled = self._filled
        self.members: dict[Sequence, Member] = {}
        """All running requests, by sequence, in order of admission."""
        self.known = 0
        """Blocks full with ``shift + known`` tokens are in the cache."""
        self._before = 0
        """The same before the batch that is being composed."""
        self._turn: float = inf
        """While requests are given blocks: the place of the one whose turn it is."""

    def see(self, known: int) -> None:
        """So many are known when the next batch is composed."""
        self._before, self.known = self.known, max(self.known, known)

    def take_back(self) -> None:
        """Nothing was composed."""
        self.known = self._before

    def give(self, batch: int, plan: Plan, need: int) -> None:
        """What ``batch`` needs, ``need`` blocks in all, to all that run."""
        kv, cruise = self._kv, self._cruise
        of_decodes = cruise.need(batch)
        is_seen = cruise.fillers or kv.tells
        takers: set[Member] = set()
        if of_decodes and kv.tells and need > kv.pool.blanks_in_front:
            takers = set(cruise.takers(batch))
        elif of_decodes:
            kv.take(of_decodes)
        if is_seen:
            self._give_in_turn(dict(plan), takers)
        else:
            for member, new in plan:
                self._extend(member, new)

    def let_fill(self, member: Member) -> None:
        """From now on enter what it fills: when somebody looks, or as soon as it is full."""
        if self._kv.tells or not self._kv.let_grow(member.sequence):
            self._cruise.make_due(member)

    def disturbed(self) -> list[Member]:
        """Those that have just stopped growing by themselves, and must be looked after from now."""
        found: list[Member] = []
        if not self._kv.pool.disturbed:
            return found
        for sequence in self._kv.disturbed():
            if sequence.registered < sequence.hashable_blocks:
                member = self.members[sequence]
                self._cruise.make_due(member)
                found.append(member)
        return found

    def _give_in_turn(self, chunks: dict[Member, int], takers: set[Member]) -> None:
        due = set(self._cruise.due(self.known)) if self.known > self._before else set()
        queue = [(member.place, member) for member in {*chunks, *due, *takers}]
        heapq.heapify(queue)
        while queue:
            self._turn, member = heapq.heappop(queue)
            if member in chunks:
                self._extend(member, chunks[member])
            if member in takers:
                self._kv.take(1)
            if member in due:
                self._enter(member)
            for late in self.disturbed():
                # Its turn is yet to come, and it may fill a block in this very batch.
                if late.place > self._turn and late not in due:
                    due.add(late)
                    heapq.heappush(queue, (late.place, late))
        self._turn = inf

    def _extend(self, member: Member, new: int) -> None:
        sequence = member.sequence
        end = sequence.computed + new
        self._kv.extend(sequence, end)
        self._kv.register(sequence, end)

    def _enter(self, member: Member) -> None:
        kv, sequence = self._kv, member.sequence
        sequence.tokens = member.shift + self.known
        kv.register(sequence, sequence.tokens)
        is_over = sequence.registered == sequence.hashable_blocks
        if is_over or (not kv.tells and kv.let_grow(sequence)):
            self._cruise.end_duty(member)

    def _filled(self, table: Table) -> int:
        """Blocks of a growing request that are full, as the one whose turn it is finds them."""
        member = self.members[table.owner]
        known = self.known if member.place < self._turn else self._before
        blocks = (member.shift + known) // self._block_tokens
        return min(blocks, member.sequence.hashable_blocks)
