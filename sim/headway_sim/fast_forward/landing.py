"""From the counts of a flight to those of the literal scheduler, and back."""

from headway_sim.engine.scheduler import Batch, Scheduler
from headway_sim.engine.sequence import Phase, Sequence
from headway_sim.fast_forward.cruise import Member
from headway_sim.fast_forward.flight import Composed, Flight

Pipeline = tuple[Batch | None, Batch | None]
"""The batch that runs, and the one composed after it."""


def land(flight: Flight) -> Pipeline:
    """Make explicit how far every request is; the flight is empty then."""
    literal = _literal(flight, flight.current), _literal(flight, flight.ahead)
    for member in flight.members.values():
        if member.first:
            _make_explicit(flight, member)
    flight.empty()
    return literal


def take_off(flight: Flight, scheduler: Scheduler, pipeline: Pipeline) -> bool:
    """Go on without a loop over the requests; False, changing nothing: not all is regular yet."""
    current, ahead = pipeline
    if ahead is not None and not ahead.scheduled:
        ahead = None
    runs, follows = flight.done + 1, flight.done + 2
    in_current = dict.fromkeys(current.sampled) if current is not None else {}
    in_ahead = dict.fromkeys(ahead.sampled) if ahead is not None else {}
    if any(s.phase is Phase.WAITING for s in (*in_current, *in_ahead)):
        return False  # It was preempted, and gets its token all the same.
    firsts: list[tuple[Sequence, int]] = []
    for sequence in scheduler.running:
        batches = (sequence in in_current, sequence in in_ahead)
        if not _is_regular(flight, sequence, batches):
            return False
        firsts.append((sequence, runs if batches[0] else follows if batches[1] else 0))
    flight.composed = follows if ahead is not None else runs if current is not None else flight.done
    flight.blocks.known = min(flight.composed, runs)
    flight.may_admit = len(scheduler.waiting) > 0
    flight.is_blocked = not flight.may_admit
    flight.current, flight.ahead = _composed(current, runs), _composed(ahead, follows)
    for sequence, first in firsts:
        member = Member(sequence)
        flight.enter(member)
        if first == 0:
            flight.prefilling.append(member)
            continue
        batch = flight.current if first == runs else flight.ahead
        assert batch is not None
        batch.firsts.append(member)
        if flight.is_asynchronous and sequence not in in_ahead:
            member.join(first, sequence.tokens)
            flight.ending.append(member)
        else:
            flight.join(member, first, sequence.tokens)
    return True


def _is_regular(flight: Flight, sequence: Sequence, batches: tuple[bool, bool]) -> bool:
    """Whether it is where a request of a flight would be, given the batches that it is in."""
    if flight.is_asynchronous and sequence.in_flight != sum(batches):
        return False
    match batches:
        case (True, True):
            return sequence.tokens == sequence.computed - 1
        case (False, True):
            return sequence.tokens == sequence.computed
        case (True, False):
            # Left out of the next batch: only as this one gives it its last token.
            is_last = sequence.tokens + 1 == sequence.certain_end == sequence.end
            is_last = is_last or not flight.is_asynchronous
            return sequence.tokens == sequence.computed and is_last
        case _:
            return sequence.computed < sequence.prefill_end


def _last_batch(flight: Flight, member: Member) -> int:
    """The last of the batches composed so far that a request is in."""
    return min(flight.composed, member.last) if member.is_certain else flight.composed


def _literal(flight: Flight, batch: Composed | None) -> Batch | None:
    if batch is None:
        return None
    sampled = [
        member.sequence
        for member in flight.members.values()
        if member.first and member.first <= batch.index <= _last_batch(flight, member)
    ]
    running = [member.sequence for member in flight.members.values()]
    return Batch(
        budget=0,
        scheduled=dict.fromkeys(running, 1),  # All that counts by now is that it is not empty.
        prefill_chunks=batch.prefill_chunks,
        decodes=batch.decodes,
        kv_tokens=batch.kv_tokens,
        sampled=sampled,
    )


def _make_explicit(flight: Flight, member: Member) -> None:
    sequence, last = member.sequence, _last_batch(flight, member)
    sequence.computed = member.shift + last
    sequence.tokens = max(member.tokens, member.shift + 1 + flight.done)
    if flight.is_asynchronous:
        sequence.in_flight = last - max(flight.done, member.first - 1)
    flight.kv.stop_growing(sequence)
    flight.kv.hold(sequence, sequence.computed)


def _composed(batch: Batch | None, number: int) -> Composed | None:
    if batch is None:
        return None
    composed = Composed(number, batch.decodes, batch.kv_tokens)
    composed.prefill_chunks = batch.prefill_chunks
    return composed
