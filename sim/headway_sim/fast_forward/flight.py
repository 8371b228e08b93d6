"""The scheduler without a loop over the requests that decode.

While nobody is preempted and the token budget suffices, a batch holds one token of every cruising
request and the chunks of the few whose prompt is being computed.  Only the latter are looked at one
by one.  When `Flight.foresees` says that it gets more difficult than that, the engine *lands*
(`landing.py`): the literal scheduler takes over, with all counts made explicit, until all is
regular again.
"""

from operator import attrgetter

from headway_sim.engine.config import EngineConfig, SchedulingPolicy
from headway_sim.engine.scheduler import Batch, Scheduler
from headway_sim.engine.sequence import Phase
from headway_sim.fast_forward.blocks import Blocks, Plan
from headway_sim.fast_forward.cruise import Cruise, Member
from headway_sim.fast_forward.extent_cache import ExtentCache


class Composed:
    """A batch, as far as its length and its results depend on it."""

    __slots__ = ("decodes", "firsts", "index", "kv_tokens", "prefill_chunks")

    def __init__(self, index: int, decodes: int, kv_tokens: int) -> None:
        self.index = index
        self.decodes = decodes
        self.kv_tokens = kv_tokens
        self.prefill_chunks: list[tuple[int, int]] = []
        self.firsts: list[Member] = []
        """Requests that get a token for the first time since their admission."""


class Flight:
    """The running requests of a scheduler, while it needs no loop over them."""

    def __init__(self, config: EngineConfig, scheduler: Scheduler, kv: ExtentCache) -> None:
        self._config = config
        self._scheduler = scheduler
        self.kv = kv
        self.is_asynchronous = config.async_scheduling
        self.cruise = Cruise(config.block_tokens)
        self.blocks = Blocks(config.block_tokens, kv, self.cruise)
        self.members = self.blocks.members
        self.prefilling: list[Member] = []
        """In order of admission."""
        self.ending: list[Member] = []
        """Left out of the last batch composed, since the one before gives them their last token."""
        self.current: Composed | None = None
        self.ahead: Composed | None = None
        """Composed when the current batch started."""
        self.composed = 0
        """Number of the last batch composed."""
        self.done = 0
        """Number of the last batch that has ended."""
        self.is_blocked = True
        """Nobody waits who could be admitted to the next batch, if nothing but decodes happens."""
        self.may_admit = False
        """Somebody waits, and has not been refused since anything that counts has changed."""
        self._places = 0
        self._plan: Plan = []
        self._threshold = 0
        self._budget = 0
        self._need = 0

    def compose_decodes(self) -> bool:
        """Compose a batch of nothing but decodes; False, having done nothing: it takes more.

        An empty batch is none.
        """
        cruise, number = self.cruise, self.composed + 1
        if cruise.has_end(self.composed):
            self._depart(self.composed)
        decodes = len(cruise.members)
        if (
            self.prefilling
            or self.may_admit
            or cruise.has_due
            or decodes > self._config.max_num_batched_tokens
        ):
            return False
        need = cruise.need(number)
        pool = self.kv.pool
        if need > (pool.blanks_in_front if self.kv.tells else pool.free_blocks):
            return False
        if need:
            pool.take(need)
        self.is_blocked = True
        self.ahead = None
        if decodes:
            self.composed = number
            self.blocks.see(min(number, self.done + 1))
            self.ahead = Composed(number, decodes, cruise.kv_tokens(number))
        return True

    def foresees(self) -> bool:
        """Whether the next batch is regular; it is then composed by `compose`.

        After `compose_decodes` has refused.
        """
        config, scheduler, cruise = self._config, self._scheduler, self.cruise
        budget = limit = config.max_num_batched_tokens
        threshold = config.long_prefill_threshold
        if threshold == 0 or len(scheduler.running) + len(scheduler.waiting) <= 1:
            threshold = limit
        budget -= len(cruise.members)
        if budget < 0:
            return False
        need = cruise.need(self.composed + 1)
        plan = []
        for member in self.prefilling:
            sequence = member.sequence
            wanted = min(sequence.tokens - sequence.computed, threshold)
            new = min(wanted, budget)
            # Who stands behind would go short instead: those that decode come first as a rule.
            if new < wanted and member.place < cruise.last_place:
                return False
            if new == 0:
                break
            need += self.kv.lacks(sequence, sequence.computed + new)
            budget -= new
            plan.append((member, new))
        if need > self.kv.pool.free_blocks:
            return False
        self._plan, self._threshold, self._budget, self._need = plan, threshold, budget, need
        return True

    def compose(self) -> Batch | None:
        """Compose what `foresees` has foreseen.  Returns the literal batch with its admissions."""
        number = self.composed + 1
        batch = Composed(number, len(self.cruise.members), self.cruise.kv_tokens(number))
        self.blocks.see(min(number, self.done + 1))
        self.blocks.give(number, self._plan, self._need)
        for member, new in self._plan:
            self._compute(member, new, batch)
        admissions = None
        self.is_blocked = True
        if self.may_admit:
            admissions = self._admit(batch)
            self.may_admit = len(self._scheduler.waiting) > 0
            # What chunks of prompts bring into the cache is to the good of those who wait.
            if not batch.prefill_chunks and self.is_blocked:
                self.may_admit = False
        if self._plan or admissions is not None:
            self.prefilling = [m for m in self.prefilling if m.first == 0]
        if batch.decodes == 0 and not batch.prefill_chunks:
            self.blocks.take_back()
            self.ahead = None
        else:
            self.composed = number
            self.ahead = batch
        return admissions

    def finish(self, batch: Composed) -> list[Member]:
        """``batch`` has ended: end those whose last token it gave; return them in order."""
        self.done = batch.index
        if not self.ending and not self.cruise.has_end(batch.index):
            return []
        finished = self.ending + self.cruise.ended(batch.index)
        self.ending = []
        if len(finished) > 1:
            finished.sort(key=attrgetter("place"))
        for member in finished:
            sequence = member.sequence
            sequence.tokens = sequence.end
            self.kv.stop_growing(sequence)
            self.kv.register(sequence, sequence.end - 1)
            self.blocks.disturbed()
        for member in finished:
            sequence = member.sequence
            if member.is_cruising:
                self.cruise.remove(member)
            # A stop token is not foreseen: a batch that is composed already has a slot for it.
            computed = sequence.end - 1 if member.is_certain else member.shift + self.composed
            self.kv.hold(sequence, computed)
            self.kv.release(sequence)
            sequence.phase = Phase.FINISHED
            self._scheduler.running.remove(sequence)
            del self.members[sequence]
        self.may_admit = len(self._scheduler.waiting) > 0
        return finished

    def arrive(self, *, was_empty: bool) -> None:
        """The queue of those who wait, which ``was_empty``, has got longer.

        In a line, all wait behind the one who was refused.
        """
        config = self._config
        is_line = config.policy == SchedulingPolicy.FCFS and config.max_loras == 0
        if was_empty or self.may_admit or not is_line:
            self.may_admit = True
            self.is_blocked = False

    def join(self, member: Member, first: int, tokens: int) -> None:
        """From batch ``first`` on it gets a token from every batch."""
        member.join(first, tokens)
        self.cruise.add(member)
        sequence = member.sequence
        if sequence.registered < sequence.hashable_blocks:
            self.blocks.let_fill(member)

    def enter(self, member: Member) -> None:
        """It stands behind all others that run."""
        self._places += 1
        member.place = self._places
        self.members[member.sequence] = member

    def empty(self) -> None:
        """Nobody flies any more; all requests are the literal scheduler's."""
        self.cruise.clear()
        self.members.clear()
        self.prefilling = []
        self.ending = []
        self.current = self.ahead = None

    def _depart(self, batch: int) -> None:
        """Leave out of the next batch those who get their last token from ``batch``."""
        for member in self.cruise.ended(batch):
            if member.is_certain:
                self.cruise.remove(member)
                self.kv.stop_growing(member.sequence)
            self.ending.append(member)
        self.may_admit = len(self._scheduler.waiting) > 0  # Their part of the budget is free.

    def _compute(self, member: Member, new: int, batch: Composed) -> None:
        sequence = member.sequence
        batch.prefill_chunks.append((new, sequence.computed))
        sequence.computed += new
        if sequence.computed == sequence.tokens:
            batch.firsts.append(member)
            self.join(member, batch.index, sequence.tokens)

    def _admit(self, batch: Composed) -> Batch:
        self.kv.refused = None
        literal = Batch(self._budget)
        if self._budget > 0:
            self._scheduler.admit_waiting(literal, self._threshold)
        for admission in literal.admitted:
            member = Member(admission.sequence)
            self.enter(member)
            self.prefilling.append(member)
            self._compute(member, literal.scheduled[admission.sequence], batch)
        self.blocks.disturbed()
        refused = self.kv.refused
        if refused is not None and refused.may_grow and self.cruise.fillers:
            # Somebody may fill a block that the one in front waits for: after a block in use, or,
            # if it has found nothing, the first one of a short prompt.
            self.is_blocked = refused.blocks == 0 and not self.cruise.has_due
        return literal
