"""What a peer cannot make the router do: each limit with its error, and the others unharmed."""

import pytest
from hyperframe.frame import GoAwayFrame, SettingsFrame, WindowUpdateFrame

from h2_peer import frames
from h2_peer.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    SETTINGS,
    frame,
    message,
)
from h2_peer.peer import Peer, goaway_code, pings

FLOW_CONTROL_ERROR, STREAM_CLOSED, REFUSED_STREAM, ENHANCE_YOUR_CALM = 3, 5, 7, 0xB


def is_served(peer: Peer, stream_id: int) -> bool:
    peer.send(frames.headers(stream_id), frames.data(stream_id, message(b"x"), END_STREAM))
    return peer.answers[stream_id].messages == [b"x"] and peer.answers[stream_id].has_ended


def test_streams_above_the_limit_are_refused() -> None:
    peer = Peer(max_streams=2)
    peer.send(*(frames.headers(i) for i in (1, 3, 5)))
    assert peer.answers[5].reset_code == REFUSED_STREAM
    assert peer.service.opened == 2
    peer.send(frames.rst_stream(1))
    assert is_served(peer, 7)


def test_a_header_list_above_the_limit_fails_its_call_only() -> None:
    peer = Peer(max_header_list_bytes=1000)
    peer.send(frames.headers(1, frames.request(x="y" * 1000)))
    assert peer.answers[1].grpc_status == "8"
    assert peer.service.opened == 0
    assert is_served(peer, 3)


def test_short_fields_that_are_many_count_too() -> None:
    """HPACK makes kilobytes of a few bytes: one for each entry of the static table."""
    peer = Peer(max_header_list_bytes=1000)
    peer.send(frame(HEADERS, END_HEADERS, 1, frames.block(frames.request()) + b"\x90" * 100))
    assert peer.answers[1].grpc_status == "8"
    assert is_served(peer, 3)


def test_a_header_list_above_the_limit_ends_a_connection_that_still_has_a_table() -> None:
    """Before the settings are acknowledged, what the block has added to the table is lost."""
    peer = Peer(greet=False, max_header_list_bytes=1000)
    peer.send(frames.PREFACE, frames.settings())
    received = peer.send(frames.headers(1, frames.request(x="y" * 1000)))
    assert goaway_code(received) == ENHANCE_YOUR_CALM


def test_a_header_block_without_an_end_ends_the_connection() -> None:
    peer = Peer(max_header_block_bytes=50_000)
    peer.send(frame(HEADERS, 0, 1, bytes(100)))
    received = [r for _ in range(4) for r in peer.send(frame(CONTINUATION, 0, 1, bytes(16_000)))]
    assert goaway_code(received) == ENHANCE_YOUR_CALM


@pytest.mark.parametrize("content", [b"", b"\x90"])
def test_a_flood_of_continuations_ends_the_connection(content: bytes) -> None:
    peer = Peer(max_continuations=10)
    peer.send(frame(HEADERS, 0, 1, frames.block(frames.request())))
    assert peer.send(*[frame(CONTINUATION, 0, 1, content)] * 10) == []
    assert goaway_code(peer.send(frame(CONTINUATION, 0, 1, content))) == ENHANCE_YOUR_CALM


FLOODS = {
    "PING": frame(PING, 0, 0, bytes(8)),
    "acknowledgements of PING": frame(PING, 1, 0, bytes(8)),
    "SETTINGS": frames.settings(initial_window_size=100),
    "acknowledgements of SETTINGS": frame(SETTINGS, 1, 0),
    "empty DATA": frame(DATA, 0, 1),
    "DATA of nothing but padding": frame(DATA, 8, 1, b"\x02\0\0"),
    "PRIORITY": frame(2, 0, 1, bytes(5)),
    "GOAWAY": frame(7, 0, 0, bytes(8)),
    "unknown frames": frame(0x42, 0, 0),
    "RST_STREAM of closed streams": frames.rst_stream(3),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_the_connection(name: str) -> None:
    peer = Peer(control_burst=50, controls_per_s=1.0)
    peer.send(frames.headers(1), frames.headers(3, flags=END_HEADERS | END_STREAM))
    received = peer.send(*[FLOODS[name]] * 40)
    assert goaway_code(received) is None
    assert goaway_code(peer.send(*[FLOODS[name]] * 20)) == ENHANCE_YOUR_CALM
    assert peer.service.open_streams == 0


def test_envoys_way_of_ending_streams_is_no_flood() -> None:
    """Its RST_STREAM follows the end of each stream, whoever has ended it."""
    peer = Peer(control_burst=50, reset_burst=50)
    for stream_id in range(1, 1001, 4):
        peer.send(frames.headers(stream_id), frames.data(stream_id, message(b"end")))
        peer.send(frames.rst_stream(stream_id))
        other = stream_id + 2
        peer.send(frames.headers(other), frames.data(other, message(b"x"), END_STREAM))
        assert goaway_code(peer.send(frames.rst_stream(other))) is None


def test_the_same_frames_over_a_longer_time_are_no_flood() -> None:
    peer = Peer(control_burst=50, controls_per_s=10.0)
    for _ in range(60):
        assert goaway_code(peer.send(*[frame(PING, 0, 0, bytes(8))] * 5)) is None
        peer.wait(1.0)


@pytest.mark.parametrize("content", [b"", message(b"hold")])
def test_a_rapid_reset_ends_the_connection(content: bytes) -> None:
    """CVE-2023-44487: streams that are opened only to be cancelled."""
    peer = Peer(reset_burst=100, resets_per_s=1.0)
    codes = []
    for stream_id in range(1, 401, 2):
        opened = frames.headers(stream_id) + frames.data(stream_id, content)
        codes.append(goaway_code(peer.send(opened, frames.rst_stream(stream_id))))
    assert codes[:100] == [None] * 100
    assert codes[100] == ENHANCE_YOUR_CALM
    assert peer.service.opened == peer.service.closed == 101


def test_streams_that_have_lived_may_all_be_cancelled_at_once() -> None:
    """A gateway whose clients leave."""
    peer = Peer(reset_burst=100, resets_per_s=1.0, young_s=1.0)
    ids = range(1, 2001, 2)
    peer.send(*(frames.headers(i) + frames.data(i, message(b"hold")) for i in ids))
    peer.wait(1.5)
    assert goaway_code(peer.send(*map(frames.rst_stream, ids))) is None
    assert peer.service.open_streams == 0


def test_a_peer_that_makes_the_router_reset_streams_is_sent_away() -> None:
    """CVE-2025-8671: errors of streams instead of cancellations."""
    peer = Peer(reset_burst=100, resets_per_s=1.0)
    sent = (frames.headers(i) + frames.window_update(i, 0) for i in range(1, 401, 2))
    assert goaway_code(peer.send(*sent)) == ENHANCE_YOUR_CALM


def test_a_stream_gets_its_window_back_before_its_message_is_complete() -> None:
    peer = Peer(max_message_bytes=2**25)
    peer.send(frames.headers(1))
    window = next(
        s.settings[SettingsFrame.INITIAL_WINDOW_SIZE]
        for s in peer.greeting
        if isinstance(s, SettingsFrame)
    )
    received = peer.send(frames.data(1, b"\0" + (2**25).to_bytes(4) + bytes(window)))
    given_back = (u.window_increment for u in received if isinstance(u, WindowUpdateFrame))
    assert sum(given_back) >= window // 2


def test_incomplete_messages_are_bounded_for_the_whole_connection() -> None:
    peer = Peer(max_buffered_bytes=150_000)
    most = message(bytes(100_000))[:-1]
    peer.send(frames.headers(1), frames.data(1, most))
    peer.send(frames.headers(3), frames.data(3, most))
    assert peer.answers[3].grpc_status == "8"
    assert 1 not in peer.answers
    assert is_served(peer, 5)
    peer.send(frames.data(1, b"\0"))
    assert peer.service.received[-1] == bytes(100_000)
    peer.send(frames.headers(7), frames.data(7, most))
    assert 7 not in peer.answers


def test_an_incomplete_message_counts_until_its_call_ends_in_any_way() -> None:
    peer = Peer(max_buffered_bytes=150_000)
    part = message(bytes(100_000))[:-1]
    for stream_id in range(1, 21, 4):
        peer.send(frames.headers(stream_id), frames.data(stream_id, part))
        peer.send(frames.rst_stream(stream_id))
        last = stream_id + 2
        peer.send(frames.headers(last), frames.data(last, part, END_STREAM))
        assert peer.answers[last].grpc_status == "13"
    fields = frames.request(grpc_timeout="1S")
    peer.send(frames.headers(101, fields), frames.data(101, part))
    peer.wait(2.0)
    assert peer.answers[101].grpc_status == "4"
    peer.send(frames.headers(103), frames.data(103, part + b"\0"))
    assert peer.service.received == [bytes(100_000)]


def test_answers_that_the_peer_does_not_take_count_as_well() -> None:
    peer = Peer(max_buffered_bytes=150_000, settings={"initial_window_size": 0})
    peer.send(frames.headers(1), frames.data(1, message(bytes(100_000))))
    peer.send(frames.headers(3), frames.data(3, message(bytes(100_000))))
    assert peer.answers[3].grpc_status == "8"
    peer.send(frames.window_update(1, 2**20), frames.window_update(0, 2**20))
    assert peer.answers[1].messages == [bytes(100_000)]
    peer.send(frames.headers(5), frames.data(5, message(bytes(100_000))))
    assert peer.answers[5].grpc_status is None


def test_what_a_held_request_is_given_counts_too() -> None:
    peer = Peer(max_buffered_bytes=150_000, settings={"initial_window_size": 0})
    peer.send(*(frames.headers(i) + frames.data(i, message(b"hold")) for i in (1, 3)))
    for held in peer.service.held:
        held.deliver([bytes(100_000)])
    peer.read()
    assert peer.answers[3].reset_code == ENHANCE_YOUR_CALM
    assert peer.answers[1].reset_code is None


def test_a_peer_that_takes_no_answers_for_long_is_sent_away() -> None:
    peer = Peer(stall_s=60.0, keepalive_s=1000.0, settings={"initial_window_size": 0})
    peer.send(frames.headers(1), frames.data(1, message(b"x")))
    assert goaway_code(peer.wait(50.0)) is None
    assert goaway_code(peer.wait(30.0)) == ENHANCE_YOUR_CALM
    assert peer.service.open_streams == 0


def test_a_peer_that_takes_a_little_now_and_then_is_not() -> None:
    peer = Peer(stall_s=60.0, keepalive_s=1000.0, settings={"initial_window_size": 0})
    peer.send(frames.headers(1), frames.data(1, message(b"x" * 1000)))
    for _ in range(10):
        assert goaway_code(peer.wait(40.0)) is None
        peer.send(frames.window_update(1, 1))


def test_who_never_says_what_it_is_is_closed() -> None:
    peer = Peer(greet=False, handshake_s=10.0)
    peer.send(frames.PREFACE)
    peer.wait(9.0)
    assert not peer.connection.is_finished
    peer.wait(9.0)
    assert peer.connection.is_finished


def test_a_silent_peer_is_asked_and_closed_if_it_does_not_answer() -> None:
    peer = Peer(keepalive_s=60.0, answer_s=20.0)
    peer.send(frames.headers(1), frames.data(1, message(b"hold")))
    assert not pings(peer.wait(55.0))
    [ping] = pings(peer.wait(10.0))
    peer.send(frame(PING, 1, 0, ping.opaque_data))
    peer.wait(30.0)
    assert not peer.connection.is_finished
    assert pings(peer.wait(40.0))
    peer.wait(30.0)
    assert peer.connection.is_finished
    assert peer.service.open_streams == 0


def test_an_idle_connection_is_drained_and_one_with_a_call_is_not() -> None:
    peer = Peer(idle_s=900.0, keepalive_s=10_000.0)
    peer.send(frames.headers(1), frames.data(1, message(b"hold")))
    assert goaway_code(peer.wait(2000.0)) is None
    peer.send(frames.rst_stream(1))
    assert goaway_code(peer.wait(800.0)) is None
    received = peer.wait(120.0)
    assert [f.error_code for f in received if isinstance(f, GoAwayFrame)] == [0, 0]
    assert peer.connection.is_finished


def test_what_is_remembered_of_closed_streams_and_header_fields_is_bounded() -> None:
    peer = Peer()
    for i in range(1, 20_001, 2):
        fields = frames.request(x_headway_request_id=f"r{i}", grpc_timeout="1H")
        peer.send(frames.headers(i, fields, END_HEADERS | END_STREAM))
    calls, decoder = peer.connection._calls, peer.connection._streams._decoder
    assert len(calls.past) <= 8192
    assert len(calls._deadlines) <= 8192
    assert len(decoder._fields) <= 512
