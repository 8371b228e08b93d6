"""A stream of batches with losses, repetitions and restarts, without a socket."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_core.events import BlocksRemoved, BlocksStored, CacheCleared
from headway_core.facts import InferenceRequest
from headway_router.kv_events.join import CacheEvent
from headway_router.kv_events.outcomes import CacheKnowledge
from headway_router.kv_events.prompts import Prompts
from headway_router.kv_events.stream import EventStream
from headway_router.metrics import Metrics
from headway_router.openai.ratios import START_TOKENS_PER_BYTE, TokenRatios

ENGINE = "10.0.0.1:8000"


def a_request(request_id: str, *blocks: int) -> InferenceRequest:
    size = 1024 * len(blocks)
    return InferenceRequest(
        request_id=request_id,
        requested_model="m",
        prompt_tokens=size // 4,
        blocks=blocks,
        content_bytes=size,
    )


def a_batch(*events: dict[str, object], ts: float = 0.0) -> bytes:
    return msgspec.msgpack.encode([ts, events, 0])


def stored(
    session: str | None, *blocks: int, parent: int | None = None, size: int = 256
) -> dict[str, object]:
    event: dict[str, object] = {
        "type": "BlockStored",
        "block_hashes": blocks,
        "parent_block_hash": parent,
        "block_size": size,
    }
    return event if session is None else event | {"session_id": session}


def removed(*blocks: int) -> dict[str, object]:
    return {"type": "BlockRemoved", "block_hashes": blocks}


class Followed:
    """A stream, what it told, and the blocks that a mirror holds by that."""

    def __init__(self) -> None:
        self.ratios = TokenRatios()
        self.prompts = Prompts(self.ratios)
        self.metrics = Metrics()
        self.told: list[CacheEvent] = []
        self.stream = EventStream(ENGINE, self.prompts, self.told.append, self.metrics)

    def count(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    @property
    def held(self) -> set[int]:
        held: set[int] = set()
        for event in self.told:
            match event:
                case BlocksStored():
                    held.update(event.blocks)
                case BlocksRemoved():
                    held.difference_update(event.blocks)
                case CacheCleared():
                    held.clear()
        return held


def test_batches_in_order_are_taken() -> None:
    followed = Followed()
    followed.prompts.sent("m", a_request("r", 1, 2))
    assert followed.stream.live(0, a_batch(stored("r", 100)))
    assert followed.stream.live(1, a_batch(stored("r", 101, parent=100)))
    assert followed.told == [
        BlocksStored(ENGINE, (1,), 256),
        BlocksStored(ENGINE, (1, 2), 256),
    ]
    assert followed.stream.knowledge is CacheKnowledge.EXACT
    assert followed.count("headway_kv_batches_total", outcome="live") == 2
    assert followed.count("headway_kv_stored_blocks_total", outcome="joined") == 2


def test_a_gap_is_filled_by_a_replay_which_overtakes_what_is_queued() -> None:
    followed = Followed()
    followed.prompts.sent("m", a_request("r", 1, 2, 3))
    batches = [
        a_batch(stored("r", 100)),
        a_batch(stored("r", 101, parent=100)),
        a_batch(stored("r", 102, parent=101)),
    ]
    stream = followed.stream
    assert stream.live(0, batches[0])
    assert not stream.live(2, batches[2])
    assert stream.replay_from() == 0
    assert all(stream.replayed(number, batch) for number, batch in enumerate(batches))
    assert stream.live(2, batches[2])
    assert followed.held == {1, 2, 3}
    assert followed.count("headway_kv_batches_total", outcome="replayed") == 2
    assert followed.count("headway_kv_batches_total", outcome="repeated") == 1


def test_a_gap_that_stays_is_a_loss_of_all_that_was_told_but_not_of_the_mirror() -> None:
    followed = Followed()
    followed.prompts.sent("m", a_request("r", 1, 2))
    stream = followed.stream
    stream.live(0, a_batch(stored("r", 100, 101)))
    late = a_batch(removed(101))
    assert not stream.live(2, late)
    stream.missed(2)
    assert stream.live(2, late)
    assert followed.held == {1, 2}
    assert (stream.knowledge, stream.engine_blocks) == (CacheKnowledge.UNPROVEN, 0)
    assert followed.count("headway_kv_resets_total", reason="gap") == 1


def test_events_that_do_not_join_are_noticed_and_so_is_that_they_do_again() -> None:
    followed = Followed()
    stream = followed.stream
    for number in range(20):
        followed.prompts.sent("m", a_request(f"r{number}", number))
        stream.live(number, a_batch(stored(f"r{number}", 100 + number, parent=99)))
    assert stream.knowledge.value == "unjoined"
    for number in range(20, 100):
        followed.prompts.sent("m", a_request(f"r{number}", number))
        stream.live(number, a_batch(stored(f"r{number}", 1000 + number)))
    assert stream.knowledge.value == "exact"


def test_an_engine_without_sessions_is_noticed() -> None:
    followed = Followed()
    for number in range(20):
        followed.stream.live(number, a_batch(stored(None, 100 + number)))
    assert followed.stream.knowledge is CacheKnowledge.UNJOINED
    assert followed.count("headway_kv_stored_blocks_total", outcome="no-session") == 20


def test_what_other_routers_send_is_no_reason_to_doubt() -> None:
    followed = Followed()
    for number in range(100):
        followed.stream.live(number, a_batch(stored("of another router", 100 + number)))
    assert followed.stream.knowledge is CacheKnowledge.UNPROVEN


def test_numbers_that_begin_again_are_another_process() -> None:
    followed = Followed()
    followed.prompts.sent("m", a_request("r", 1, 2))
    followed.stream.live(0, a_batch(stored("r", 100, 101)))
    followed.prompts.sent("m", a_request("s", 5))
    assert followed.stream.live(0, a_batch(stored("s", 100), ts=-3600.0))
    assert followed.held == {5}
    assert followed.count("headway_kv_resets_total", reason="restarted") == 1


def test_a_restart_whose_first_batches_were_missed_shows_in_the_replay() -> None:
    followed = Followed()
    followed.prompts.sent("m", a_request("r", 1))
    followed.prompts.sent("s", a_request("s", 5))
    stream = followed.stream
    stream.live(0, a_batch(stored("r", 100)))
    stream.live(1, a_batch(removed(7)))
    of_another = [
        a_batch(stored("s", 200)),
        a_batch(removed(8)),
        a_batch(removed(9)),
        a_batch(removed(10)),
    ]
    assert not stream.live(3, of_another[3])
    assert stream.replay_from() == 1
    assert not stream.replayed(1, of_another[1])
    assert stream.replay_from() == 0
    assert all(stream.replayed(number, batch) for number, batch in enumerate(of_another))
    assert stream.live(3, of_another[3])
    assert followed.held == {5}


@pytest.mark.parametrize("payload", [b"", b"\xff", a_batch(stored("r", 5, size=0))])
def test_a_malformed_batch_is_a_loss(payload: bytes) -> None:
    followed = Followed()
    followed.prompts.sent("m", a_request("r", 1))
    followed.stream.live(0, a_batch(stored("r", 100)))
    assert followed.stream.live(1, payload)
    assert followed.stream.engine_blocks == 0
    assert followed.held == {1}
    assert followed.count("headway_kv_batches_total", outcome="malformed") == 1


def test_a_late_subscriber_starts_from_what_it_sees() -> None:
    followed = Followed()
    followed.prompts.sent("m", a_request("r", 1))
    assert followed.stream.replayed(17, a_batch(stored("r", 100)))
    assert followed.stream.live(18, a_batch(removed(100)))
    assert followed.held == set()
    assert followed.count("headway_kv_resets_total", reason="gap") == 0


def test_who_subscribes_before_the_first_batch_waits_for_that() -> None:
    followed = Followed()
    followed.stream.replay_ended()
    assert not followed.stream.live(2, a_batch(removed(1)))


@pytest.mark.parametrize("has_first_token", [True, False])
@pytest.mark.parametrize("answer_blocks", [0, 1])
def test_the_prompts_length_is_learned_from_its_prefill(
    has_first_token: bool, answer_blocks: int
) -> None:
    """4,096 bytes; 32 blocks of 64 tokens in two steps, the second after the answer has come.

    Where neither a first token nor a block of the answer was seen, it may not be all.
    """
    followed = Followed()
    followed.prompts.sent("m", a_request("r", 1, 2, 3, 4))
    followed.stream.live(0, a_batch(stored("r", *range(100, 120), size=64)))
    followed.prompts.ended("r", 10.0, has_first_token=has_first_token)
    followed.stream.live(1, a_batch(stored("r", *range(120, 132), parent=119, size=64)))
    if answer_blocks:
        followed.stream.live(2, a_batch(stored("r", 132, parent=131, size=64)))
    expected = TokenRatios()
    assert followed.ratios.tokens_per_byte("m") == START_TOKENS_PER_BYTE
    followed.prompts.ended("unknown", 13.0, has_first_token=True)
    if has_first_token or answer_blocks:
        expected.learn("m", 4096, 32 * 64 + 32)
    assert followed.ratios.tokens_per_byte("m") == expected.tokens_per_byte("m")


def test_nothing_is_learned_from_a_request_that_was_preempted() -> None:
    followed = Followed()
    followed.prompts.sent("m", a_request("r", 1, 2, 3, 4))
    followed.stream.live(0, a_batch(stored("r", *range(100, 116), size=64)))
    followed.stream.live(1, a_batch(stored("r", *range(108, 120), parent=107, size=64)))
    for now in (10.0, 13.0):
        followed.prompts.ended("r", now, has_first_token=True)
    assert followed.ratios.tokens_per_byte("m") == START_TOKENS_PER_BYTE


requests = st.lists(st.integers(1, 3), min_size=1, max_size=3)


@given(
    st.lists(st.tuples(requests, st.sampled_from(["arrives", "is lost", "twice"])), max_size=30),
    st.integers(0, 40),
)
def test_losses_that_can_be_replayed_and_a_restart_change_nothing(
    batches: list[tuple[list[int], str]], restart_at: int
) -> None:
    """What is held in the end is what a stream without losses tells."""
    lossy, faultless = Followed(), Followed()
    kept: list[bytes] = []
    for followed in (lossy, faultless):
        followed.stream.replay_ended()
    for index, (path, fate) in enumerate(batches):
        if index == restart_at:
            kept = []
        name = f"r{index}"
        ours = [hash(tuple(path[: i + 1])) for i in range(len(path))]
        blocks = [block % 1000 + 10_000 * i for i, block in enumerate(ours)]
        batch = a_batch(stored(name, *blocks), ts=float(index))
        kept.append(batch)
        for followed in (lossy, faultless):
            followed.prompts.sent("m", a_request(name, *ours))
        assert faultless.stream.live(len(kept) - 1, batch)
        # Of a new process exactly as many as were told of the old one would not be missed.
        if fate == "is lost" and not (index >= restart_at and len(kept) == 1):
            continue
        for _ in range(2 if fate == "twice" else 1):
            _hear(lossy.stream, len(kept) - 1, batch, kept)
    if kept:
        _hear(lossy.stream, len(kept), last := a_batch(removed(1)), [*kept, last])
    assert lossy.held == faultless.held


def _hear(stream: EventStream, number: int, batch: bytes, kept: list[bytes]) -> None:
    """As the subscription does."""
    if stream.live(number, batch):
        return
    for _ in range(2):
        first = stream.replay_from()
        answers = [stream.replayed(i, kept[i]) for i in range(first, len(kept))]
        if all(answers):
            break
    assert stream.live(number, batch)
