"""How many batches of a flight can be passed at once, and the passing of them."""

from headway_sim.fast_forward.decode_run import DecodeRun
from headway_sim.fast_forward.flight import Flight


class Jump:
    """Boundaries in a row that can be passed at once."""

    __slots__ = ("event_ns", "most", "passed", "run", "starts_fs")

    def __init__(self, run: DecodeRun, most: int, starts_fs: int, event_ns: int) -> None:
        self.run = run
        """The steps between them, the first one from ``starts_fs`` on: the first boundary."""
        self.most = most
        self.passed = 0
        self.starts_fs = starts_fs
        self.event_ns = event_ns
        """When somebody can get something at the earliest."""


def skippable(flight: Flight) -> int:
    """At so many boundaries from now nothing happens but that everybody gets a token.

    As far as requests and blocks are concerned: steps must also be linear that long.
    """
    current, ahead, cruise, kv = flight.current, flight.ahead, flight.cruise, flight.kv
    if current is None or current.firsts or not cruise.members or not flight.is_blocked:
        return 0
    if flight.prefilling or flight.ending or kv.has_news:
        return 0
    if flight.is_asynchronous and (
        ahead is None or ahead.prefill_chunks or ahead.decodes != len(cruise.members)
    ):
        return 0
    most = boundaries_before(flight, cruise.next_end - current.index)
    most = int(min(most, cruise.until_due(flight.blocks.known)))
    if most <= 0:
        return 0
    pool = kv.pool
    # Those who listen learn of every eviction by itself.
    blocks = pool.blanks_in_front if kv.tells else pool.free_blocks
    return cruise.batches_within(flight.composed + 1, blocks, most)


def boundaries_before(flight: Flight, batches: int) -> int:
    """So many can be skipped if somebody's last batch is ``batches`` from now.

    The batch after that one is composed, without them, when it starts.
    """
    return batches - 1 if flight.is_asynchronous else batches


def skip(flight: Flight, batches: int) -> None:
    """So many batches of nothing but decodes have ended, and as many were composed."""
    assert flight.current is not None
    need = flight.cruise.need(flight.composed + 1, batches)
    if need:
        flight.kv.take(need)
    flight.done += batches
    flight.composed += batches
    flight.blocks.see(flight.blocks.known + batches)
    flight.current.index += batches
    if flight.ahead is not None:
        flight.ahead.index += batches
        flight.ahead.kv_tokens = flight.cruise.kv_tokens(flight.ahead.index)
