"""The peer's windows: never more than they let pass, and all of it in the end."""

from hyperframe.frame import DataFrame, Frame, WindowUpdateFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from h2_peer import frames
from h2_peer.frames import END_STREAM, frame, message
from h2_peer.peer import Peer, goaway_code


def data_bytes(received: list[Frame]) -> int:
    return sum(len(one.data) for one in received if isinstance(one, DataFrame))


def test_a_stream_gets_as_much_as_its_window_lets_pass() -> None:
    peer = Peer(settings={"initial_window_size": 10})
    content = b"0123456789" * 5
    received = peer.send(frames.headers(1), frames.data(1, message(content), END_STREAM))
    assert data_bytes(received) == 10
    assert data_bytes(peer.send(frames.window_update(1, 7))) == 7
    assert not peer.answers[1].has_ended
    peer.send(frames.window_update(1, 1000))
    assert peer.answers[1].messages == [content]
    assert peer.answers[1].trailers == {"grpc-status": "0"}


def test_the_connections_window_is_shared() -> None:
    peer = Peer(settings={"initial_window_size": 2**20})
    most = bytes(60_000)
    peer.send(frames.headers(1), frames.data(1, message(most)))
    peer.send(frames.headers(3), frames.data(3, message(most)))
    assert len(peer.answers[3].body) == 65_535 - 60_005
    peer.send(frames.window_update(0, 2**20))
    assert peer.answers[3].messages == [most]


def test_calls_that_wait_for_the_connection_take_turns_in_their_order() -> None:
    peer = Peer(settings={"initial_window_size": 2**20})
    peer.send(frames.headers(1), frames.data(1, message(bytes(65_530))))
    ids = (3, 5, 7)
    peer.send(*(frames.headers(i) + frames.data(i, message(b"x" * 95)) for i in ids))
    for done in range(3):
        peer.send(frames.window_update(0, 100))
        assert [bool(peer.answers[i].body) for i in ids] == [i <= done for i in range(3)]


def test_a_wider_initial_window_lets_go_of_what_waits() -> None:
    peer = Peer(settings={"initial_window_size": 0})
    peer.send(frames.headers(1), frames.data(1, message(b"x"), END_STREAM))
    assert peer.answers[1].body == b""
    acknowledgement, *_ = peer.send(frames.settings(initial_window_size=100))
    assert "ACK" in acknowledgement.flags
    assert peer.answers[1].messages == [b"x"]
    assert peer.answers[1].has_ended


def test_a_window_may_become_negative() -> None:
    peer = Peer(settings={"initial_window_size": 50})
    peer.send(frames.headers(1), frames.data(1, message(b"x" * 95)))
    peer.send(frames.settings(initial_window_size=20))
    assert data_bytes(peer.send(frames.window_update(1, 30))) == 0
    assert data_bytes(peer.send(frames.window_update(1, 50))) == 50


def test_an_initial_window_that_takes_a_stream_beyond_the_limit_ends_the_connection() -> None:
    peer = Peer(settings={"initial_window_size": 100})
    peer.send(frames.headers(1), frames.window_update(1, 2**31 - 1 - 100))
    assert goaway_code(peer.send(frames.settings(initial_window_size=101))) == 3


def test_a_closed_streams_window_is_forgotten() -> None:
    peer = Peer(settings={"initial_window_size": 100})
    peer.send(frames.headers(1), frames.window_update(1, 2**31 - 1 - 100))
    peer.send(frames.rst_stream(1))
    assert goaway_code(peer.send(frames.settings(initial_window_size=2**20))) is None


def test_nothing_of_a_cancelled_call_is_sent_when_a_window_opens() -> None:
    peer = Peer(settings={"initial_window_size": 0})
    peer.send(frames.headers(1), frames.data(1, message(b"x")))
    peer.send(frames.rst_stream(1))
    assert peer.send(frames.window_update(0, 100), frames.window_update(1, 100)) == []
    assert peer.connection._sender.held_bytes == 0


def test_frames_are_as_long_as_the_peer_takes_them() -> None:
    peer = Peer(settings={"initial_window_size": 2**20, "max_frame_size": 20_000})
    received = peer.send(frames.headers(1), frames.data(1, message(bytes(50_000))))
    sizes = [len(one.data) for one in received if isinstance(one, DataFrame)]
    assert sizes == [20_000, 20_000, 10_005]


def test_the_peer_gets_its_windows_back() -> None:
    """A response of any length may be shown, chunk by chunk."""
    peer = Peer(max_message_bytes=2**20)
    chunk = frames.data(1, message(bytes(2**20)))
    peer.send(frames.headers(1), frames.window_update(0, 2**30), frames.window_update(1, 2**30))
    sent = back = 0
    for _ in range(40):
        received = peer.send(chunk)
        sent += 2**20 + 5
        back += sum(
            one.window_increment
            for one in received
            if isinstance(one, WindowUpdateFrame) and one.stream_id == 1
        )
    assert 0 <= sent - back <= 2**21 + 2**20


@settings(deadline=None)
@given(
    window=st.integers(0, 200),
    steps=st.lists(st.tuples(st.sampled_from([0, 1, 3]), st.integers(1, 400)), max_size=30),
)
def test_windows_are_never_overdrawn_and_nothing_is_lost(
    window: int, steps: list[tuple[int, int]]
) -> None:
    peer = Peer(settings={"initial_window_size": window})
    connection_left, stream_left = 65_535, {1: window, 3: window}
    contents = {1: b"a" * 500, 3: b"b" * 900}
    sent = [frames.headers(i) + frames.data(i, message(c)) for i, c in contents.items()]
    received = peer.send(*sent)
    for stream_id, increment in [*steps, (1, 2000), (3, 2000)]:
        for one in received:
            if isinstance(one, DataFrame):
                stream_left[one.stream_id] -= len(one.data)
                connection_left -= len(one.data)
        assert connection_left >= 0
        assert min(stream_left.values()) >= 0
        received = peer.send(frames.window_update(stream_id, increment))
        if stream_id:
            stream_left[stream_id] += increment
        else:
            connection_left += increment
    for stream_id, content in contents.items():
        assert peer.answers[stream_id].messages == [content]
    assert peer.send(frame(6, 0, 0, bytes(8)))
