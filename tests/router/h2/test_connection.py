"""One connection, frame by frame: what RFC 9113 and gRPC ask of a server."""

from itertools import pairwise

import pytest
from hyperframe.frame import GoAwayFrame, PingFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from h2_peer import frames
from h2_peer.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HAS_PRIORITY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    message,
)
from h2_peer.peer import EchoService, Peer, goaway_code

PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 1, 3, 5, 6
REFUSED_STREAM, COMPRESSION_ERROR = 7, 9


def a_call(peer: Peer, *contents: bytes, stream_id: int = 1) -> None:
    sent = [frames.data(stream_id, message(content)) for content in contents]
    peer.send(frames.headers(stream_id), *sent)


# -- the beginning -----------------------------------------------------------------------------


def test_the_server_greets_with_its_settings_and_a_wide_window() -> None:
    settings, window = Peer(greet=False).greeting
    assert isinstance(settings, SettingsFrame)
    assert settings.settings[SettingsFrame.HEADER_TABLE_SIZE] == 0
    assert settings.settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 40_000
    assert isinstance(window, WindowUpdateFrame)
    assert window.window_increment == 2**31 - 1 - 65_535


def test_settings_are_acknowledged() -> None:
    [answer] = Peer(greet=False).send(frames.PREFACE, frames.settings())
    assert isinstance(answer, SettingsFrame)
    assert "ACK" in answer.flags


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="HTTP/1.1"),
        pytest.param(frames.PREFACE[:-1] + b"x", id="a broken preface"),
        pytest.param(frames.PREFACE + frames.headers(1), id="no settings"),
        pytest.param(frames.PREFACE + frame(77, 0, 0), id="an unknown frame before the settings"),
    ],
)
def test_what_does_not_begin_as_http2_is_sent_away(sent: bytes) -> None:
    peer = Peer(greet=False)
    assert goaway_code(peer.send(sent)) == PROTOCOL_ERROR
    assert peer.connection.is_finished


# -- calls -------------------------------------------------------------------------------------


def test_a_message_is_answered_and_the_end_ends_the_call() -> None:
    peer = Peer()
    a_call(peer, b"hello")
    answer = peer.answers[1]
    assert answer.headers == {":status": "200", "content-type": "application/grpc"}
    assert answer.messages == [b"hello"]
    assert not answer.has_ended
    peer.send(frames.data(1, b"", END_STREAM))
    assert answer.has_ended
    assert answer.trailers == {"grpc-status": "0"}
    assert answer.reset_code is None
    assert (peer.service.opened, peer.service.closed) == (1, 1)


def test_a_stream_that_is_over_is_ended_by_the_server_and_reset_without_error() -> None:
    peer = Peer()
    a_call(peer, b"end")
    assert peer.answers[1].grpc_status == "0"
    assert peer.answers[1].reset_code == 0
    assert peer.service.open_streams == 0


def test_what_was_on_its_way_when_the_server_ended_a_stream_is_ignored() -> None:
    peer = Peer()
    a_call(peer, b"end")
    late = frames.data(1, message(b"late")), frames.headers(1, [("t", "1")], 5)
    assert peer.send(*late, frames.rst_stream(1), frames.window_update(1, 5)) == []


def test_metadata_reaches_the_service() -> None:
    peer = Peer()
    fields = frames.request(x_headway_request_id="r1", trace_bin="AAAA")
    peer.send(frames.headers(1, fields))
    [metadata] = peer.service.metadata
    assert metadata["x-headway-request-id"] == "r1"
    assert "trace-bin" not in metadata


def test_held_requests_are_answered_later_and_do_not_delay_others() -> None:
    peer = Peer()
    a_call(peer, b"hold")
    a_call(peer, b"quick", stream_id=3)
    assert peer.answers[3].messages == [b"quick"]
    assert 1 not in peer.answers
    peer.service.held[0].deliver([b"at last"])
    assert peer.news == 1
    peer.read()
    assert peer.answers[1].messages == [b"at last"]


def test_a_held_stream_may_end_with_what_is_delivered() -> None:
    peer = Peer()
    a_call(peer, b"hold")
    [held] = peer.service.held
    held.is_over = True
    held.deliver([b"refused"])
    peer.read()
    assert peer.answers[1].messages == [b"refused"]
    assert peer.answers[1].grpc_status == "0"
    assert peer.service.open_streams == 0


@pytest.mark.parametrize("sent", [frames.rst_stream(1), frames.data(1, b"", END_STREAM)])
def test_a_client_that_leaves_closes_its_stream(sent: bytes) -> None:
    peer = Peer()
    a_call(peer, b"hold")
    peer.send(sent)
    assert peer.service.open_streams == 0
    peer.service.held[0].deliver([b"too late"])
    peer.read()
    assert 1 not in peer.answers or not peer.answers[1].messages


def test_a_connection_that_breaks_closes_all_streams() -> None:
    peer = Peer()
    for stream_id in (1, 3, 5):
        a_call(peer, b"hold", stream_id=stream_id)
    peer.connection.lost()
    assert peer.service.open_streams == 0


def test_answers_to_one_read_leave_in_one_write() -> None:
    peer = Peer()
    sent = [frames.headers(i) + frames.data(i, message(b"x"), END_STREAM) for i in (1, 3, 5)]
    peer.connection.receive(b"".join(sent), peer.now_s)
    peer.read()
    assert all(peer.answers[i].messages == [b"x"] and peer.answers[i].has_ended for i in (1, 3, 5))


# -- errors of gRPC ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/grpc.health.v1.Health/List", frames.PROCESS + "x"])
def test_other_methods_are_unimplemented(path: str) -> None:
    peer = Peer()
    peer.send(frames.headers(1, frames.request(path)))
    answer = peer.answers[1]
    assert answer.grpc_status == "12"
    assert answer.headers[":status"] == "200"
    assert answer.has_ended
    assert peer.service.opened == 0


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [(":method", "GET", "405"), ("content-type", "text/html", "415")],
)
def test_what_is_not_grpc_gets_an_http_status(name: str, value: str, status: str) -> None:
    peer = Peer()
    peer.send(frames.headers(1, list((dict(frames.request()) | {name: value}).items())))
    assert 1 not in peer.answers
    peer.send(frames.data(1, b"what=ever"), frames.data(1, b"", END_STREAM))
    assert peer.answers[1].headers[":status"] == status
    assert peer.answers[1].has_ended


@pytest.mark.parametrize(
    ("content", "status"),
    [
        pytest.param(b"\1\0\0\0\1x", "12", id="compressed"),
        pytest.param(b"\0" + (100_001).to_bytes(4), "8", id="too long"),
    ],
)
def test_a_message_that_is_not_taken_ends_its_call(content: bytes, status: str) -> None:
    peer = Peer()
    a_call(peer, b"first")
    peer.send(frames.data(1, content))
    answer = peer.answers[1]
    assert answer.messages == [b"first"]
    assert answer.trailers["grpc-status"] == status
    assert answer.reset_code == 0
    assert peer.service.open_streams == 0
    a_call(peer, b"next", stream_id=3)
    assert peer.answers[3].messages == [b"next"]


def test_a_message_that_is_cut_short_is_an_error() -> None:
    peer = Peer()
    peer.send(frames.headers(1), frames.data(1, message(b"whole")[:-1], END_STREAM))
    assert peer.answers[1].grpc_status == "13"
    assert peer.service.received == []


@pytest.mark.parametrize(
    ("value", "seconds"), [("1S", 1.0), ("500m", 0.5), ("250000u", 0.25), ("1M", 60.0)]
)
def test_a_call_ends_at_its_deadline(value: str, seconds: float) -> None:
    peer = Peer()
    fields = frames.request(grpc_timeout=value)
    peer.send(frames.headers(1, fields), frames.data(1, message(b"hold")))
    assert peer.wait(seconds - 0.01) == []
    peer.wait(0.02)
    assert peer.answers[1].grpc_status == "4"
    assert peer.service.open_streams == 0


def test_a_deadline_that_is_not_understood_is_an_error() -> None:
    peer = Peer()
    peer.send(frames.headers(1, frames.request(grpc_timeout="soon")))
    assert peer.answers[1].reset_code == PROTOCOL_ERROR


# -- cuts --------------------------------------------------------------------------------------


CONVERSATION = b"".join(
    (
        frames.hello(),
        frames.headers(1),
        frames.data(1, message(b"a" * 300) + message(b"") + message(b"b" * 40), size=100),
        frame(PING, 0, 0, b"01234567"),
        frame(HEADERS, 0, 3, frames.block(frames.request())[:10]),
        frame(CONTINUATION, END_HEADERS, 3, frames.block(frames.request())[10:]),
        frames.data(3, message(b"c" * 20), END_STREAM, size=7),
        frames.data(1, b"", END_STREAM),
    )
)


def outcome(pieces: list[bytes]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    peer = Peer(greet=False)
    for piece in pieces:
        peer.send(piece)
    assert not peer.connection.is_finished
    assert peer.service.open_streams == 0
    return peer.service.received, peer.answers[1].messages, peer.answers[3].messages


EXPECTED = (
    [b"a" * 300, b"", b"b" * 40, b"c" * 20],
    [b"a" * 300, b"", b"b" * 40],
    [b"c" * 20],
)


def test_a_cut_at_any_place_changes_nothing() -> None:
    for at in range(len(CONVERSATION) + 1):
        assert outcome([CONVERSATION[:at], CONVERSATION[at:]]) == EXPECTED


def test_byte_by_byte_is_as_good_as_at_once() -> None:
    assert outcome([CONVERSATION[i : i + 1] for i in range(len(CONVERSATION))]) == EXPECTED


@settings(deadline=None)
@given(st.lists(st.integers(0, len(CONVERSATION)), max_size=12))
def test_any_cuts_change_nothing(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(CONVERSATION)]
    pieces = [CONVERSATION[a:b] for a, b in pairwise(places)]
    assert outcome(pieces) == EXPECTED


# -- frames ------------------------------------------------------------------------------------


def test_padding_and_priority_are_skipped() -> None:
    peer = Peer()
    fields = frames.block(frames.request())
    head = b"\x03" + (0).to_bytes(4) + b"\x10" + fields + bytes(3)
    peer.send(frame(HEADERS, END_HEADERS | PADDED | HAS_PRIORITY, 1, head))
    peer.send(frame(DATA, PADDED, 1, b"\x02" + message(b"x") + bytes(2)))
    assert peer.service.received == [b"x"]


def test_a_ping_is_answered_with_its_content() -> None:
    [answer] = Peer().send(frame(PING, 0, 0, b"01234567"))
    assert isinstance(answer, PingFrame)
    assert answer.opaque_data == b"01234567" and "ACK" in answer.flags


def test_unknown_frames_and_settings_are_ignored() -> None:
    peer = Peer()
    assert peer.send(frame(0x42, 0xFF, 7, b"what")) == []
    peer.send(frame(SETTINGS, 0, 0, (0x4242).to_bytes(2) + bytes(4)))
    a_call(peer, b"x")
    assert peer.answers[1].messages == [b"x"]


def test_trailers_end_a_request() -> None:
    peer = Peer()
    a_call(peer, b"x")
    peer.send(frames.headers(1, [("checksum", "1")], END_HEADERS | END_STREAM))
    assert peer.answers[1].grpc_status == "0"


BROKEN_CONNECTIONS = {
    "DATA on stream 0": (frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR),
    "DATA on an idle stream": (frame(DATA, 0, 7, b"x"), PROTOCOL_ERROR),
    "too much padding": (
        frames.headers(1) + frame(DATA, PADDED, 1, b"\x05abc"),
        PROTOCOL_ERROR,
    ),
    "padding without a length": (frames.headers(1) + frame(DATA, PADDED, 1), FRAME_SIZE_ERROR),
    "a frame above the limit": (frame(DATA, 0, 1, bytes(16_385)), FRAME_SIZE_ERROR),
    "HEADERS on stream 0": (frames.headers(0), PROTOCOL_ERROR),
    "HEADERS on an even stream": (frames.headers(2), PROTOCOL_ERROR),
    "HEADERS on a lower stream": (frames.headers(5) + frames.headers(3), PROTOCOL_ERROR),
    "HEADERS on a closed stream": (
        frames.headers(1, flags=END_HEADERS | END_STREAM) + frames.headers(1),
        STREAM_CLOSED,
    ),
    "HEADERS without their priority": (
        frame(HEADERS, END_HEADERS | HAS_PRIORITY, 1, b"\0\0"),
        FRAME_SIZE_ERROR,
    ),
    "a frame within a header block": (
        frames.headers(1, flags=0) + frame(PING, 0, 0, bytes(8)),
        PROTOCOL_ERROR,
    ),
    "CONTINUATION of another stream": (
        frames.headers(1, flags=0) + frame(CONTINUATION, END_HEADERS, 3, b""),
        PROTOCOL_ERROR,
    ),
    "CONTINUATION of nothing": (frame(CONTINUATION, END_HEADERS, 1, b""), PROTOCOL_ERROR),
    "an index beyond the table": (frame(HEADERS, END_HEADERS, 1, b"\xff\x80"), COMPRESSION_ERROR),
    "a table above the limit": (
        frame(HEADERS, END_HEADERS, 1, b"\x3f\xe1\x1f"),
        COMPRESSION_ERROR,
    ),
    "a string without an end": (
        frame(HEADERS, END_HEADERS, 1, b"\x00\x05ab"),
        COMPRESSION_ERROR,
    ),
    "PRIORITY on stream 0": (frame(PRIORITY, 0, 0, bytes(5)), PROTOCOL_ERROR),
    "RST_STREAM of a broken length": (frame(RST_STREAM, 0, 1, bytes(3)), FRAME_SIZE_ERROR),
    "RST_STREAM on an idle stream": (frames.rst_stream(9), PROTOCOL_ERROR),
    "SETTINGS on a stream": (frame(SETTINGS, 0, 1), PROTOCOL_ERROR),
    "SETTINGS of a broken length": (frame(SETTINGS, 0, 0, bytes(5)), FRAME_SIZE_ERROR),
    "an acknowledgement with content": (frame(SETTINGS, 1, 0, bytes(6)), FRAME_SIZE_ERROR),
    "ENABLE_PUSH of 2": (frames.settings(enable_push=2), PROTOCOL_ERROR),
    "a window above the limit": (
        frame(SETTINGS, 0, 0, (4).to_bytes(2) + (2**31).to_bytes(4)),
        FLOW_CONTROL_ERROR,
    ),
    "a frame size below the limit": (frames.settings(max_frame_size=100), PROTOCOL_ERROR),
    "PING on a stream": (frame(PING, 0, 1, bytes(8)), PROTOCOL_ERROR),
    "PING of a broken length": (frame(PING, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    "PUSH_PROMISE": (frame(PUSH_PROMISE, 4, 1, bytes(4)), PROTOCOL_ERROR),
    "GOAWAY on a stream": (frame(7, 0, 1, bytes(8)), PROTOCOL_ERROR),
    "WINDOW_UPDATE of a broken length": (frame(WINDOW_UPDATE, 0, 0, bytes(3)), FRAME_SIZE_ERROR),
    "WINDOW_UPDATE by nothing": (frames.window_update(0, 0), PROTOCOL_ERROR),
    "WINDOW_UPDATE beyond the limit": (
        frames.window_update(0, 2**31 - 1),
        FLOW_CONTROL_ERROR,
    ),
    "WINDOW_UPDATE on an idle stream": (frames.window_update(9, 1), PROTOCOL_ERROR),
}


@pytest.mark.parametrize("name", BROKEN_CONNECTIONS)
def test_an_error_of_the_connection_ends_it_with_its_code(name: str) -> None:
    sent, code = BROKEN_CONNECTIONS[name]
    peer = Peer()
    assert goaway_code(peer.send(sent)) == code
    assert peer.connection.is_finished
    assert peer.service.open_streams == 0
    assert peer.send(frame(PING, 0, 0, bytes(8))) == []


def _with(**fields: str) -> bytes:
    changed = dict(frames.request()) | {k.replace("_", "-"): v for k, v in fields.items()}
    return frames.headers(1, list(changed.items()))


BROKEN_STREAMS = {
    "an upper-case name": (_with(Upper="1"), PROTOCOL_ERROR),
    "a header of connections": (_with(connection="close"), PROTOCOL_ERROR),
    "te of anything but trailers": (_with(te="gzip"), PROTOCOL_ERROR),
    "an unknown pseudo-header": (
        frames.headers(1, [(":what", "1"), *frames.request()]),
        PROTOCOL_ERROR,
    ),
    "a pseudo-header of answers": (
        frames.headers(1, [(":status", "200"), *frames.request()]),
        PROTOCOL_ERROR,
    ),
    "a pseudo-header after others": (
        frames.headers(1, [*frames.request(), (":authority", "x")]),
        PROTOCOL_ERROR,
    ),
    "a pseudo-header twice": (
        frames.headers(1, [(":method", "POST"), *frames.request()]),
        PROTOCOL_ERROR,
    ),
    "no path": (frames.headers(1, [f for f in frames.request() if f[0] != ":path"]), 1),
    "an empty path": (frames.headers(1, frames.request("")), PROTOCOL_ERROR),
    "a content-length that is no number": (_with(content_length="x"), PROTOCOL_ERROR),
    "a body shorter than its content-length": (
        _with(content_length="9") + frames.data(1, message(b"x"), END_STREAM),
        PROTOCOL_ERROR,
    ),
    "a body longer than its content-length": (
        _with(content_length="3") + frames.data(1, message(b"x")),
        PROTOCOL_ERROR,
    ),
    "a priority of the wrong length": (
        frames.headers(1) + frame(PRIORITY, 0, 1, bytes(4)),
        FRAME_SIZE_ERROR,
    ),
    "a stream that depends on itself": (
        frames.headers(1) + frame(PRIORITY, 0, 1, (1).to_bytes(4) + b"\0"),
        PROTOCOL_ERROR,
    ),
    "a WINDOW_UPDATE by nothing": (
        frames.headers(1) + frames.window_update(1, 0),
        PROTOCOL_ERROR,
    ),
    "a window beyond the limit": (
        frames.headers(1) + frames.window_update(1, 2**31 - 1),
        FLOW_CONTROL_ERROR,
    ),
    "a second HEADERS that ends nothing": (
        frames.headers(1) + frames.headers(1, [("a", "b")]),
        PROTOCOL_ERROR,
    ),
    "pseudo-headers in trailers": (
        frames.headers(1) + frames.headers(1, frames.request(), END_HEADERS | END_STREAM),
        PROTOCOL_ERROR,
    ),
    "DATA after the end": (
        frames.headers(1) + frames.data(1, b"", END_STREAM) + frames.data(1, b"x"),
        STREAM_CLOSED,
    ),
}


@pytest.mark.parametrize("name", BROKEN_STREAMS)
def test_an_error_of_a_stream_resets_it_and_leaves_the_others(name: str) -> None:
    sent, code = BROKEN_STREAMS[name]
    peer = Peer()
    peer.send(sent)
    assert peer.answers[1].reset_code == code
    assert peer.service.open_streams == 0
    a_call(peer, b"next", stream_id=3)
    assert peer.answers[3].messages == [b"next"]


# -- the end -----------------------------------------------------------------------------------


def test_a_drain_serves_what_is_on_its_way_and_ends_with_the_last_call() -> None:
    peer = Peer()
    a_call(peer, b"hold")
    peer.connection.drain(peer.now_s)
    goaway, ping = peer.read()
    assert isinstance(goaway, GoAwayFrame) and goaway.last_stream_id == 2**31 - 1
    assert isinstance(ping, PingFrame)
    a_call(peer, b"on its way", stream_id=3)
    assert peer.answers[3].messages == [b"on its way"]
    [last] = peer.send(frame(PING, 1, 0, ping.opaque_data))
    assert isinstance(last, GoAwayFrame) and last.last_stream_id == 3
    assert peer.send(frames.headers(5), frames.data(5, message(b"too late"))) == []
    peer.send(frames.data(3, b"", END_STREAM))
    assert not peer.connection.is_finished
    peer.send(frames.data(1, b"", END_STREAM))
    assert peer.connection.is_finished
    assert peer.service.opened == peer.service.closed == 2


def test_a_drain_does_not_wait_for_ever_for_an_acknowledgement() -> None:
    peer = Peer(answer_s=20.0)
    peer.connection.drain(peer.now_s)
    peer.wait(19.0)
    assert not peer.connection.is_finished
    peer.wait(2.0)
    assert peer.connection.is_finished


def test_a_service_that_fails_fails_its_call_only(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(EchoService):
        def open(self, *_: object) -> "Broken.Stream":  # type: ignore[override]
            self.opened += 1
            return Broken.Stream()

        class Stream:
            is_over = is_waiting = False

            def receive(self, _: bytes) -> list[bytes]:
                raise ZeroDivisionError

            def close(self) -> None:
                raise ZeroDivisionError

    peer = Peer(Broken())
    a_call(peer, b"x")
    assert peer.answers[1].grpc_status == "2"
    assert not peer.connection.is_finished
    assert "ZeroDivisionError" in caplog.text
