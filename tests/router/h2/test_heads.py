"""Header blocks: the short ways of reading them agree with ``hpack`` and with the rules."""

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h2_peer import frames
from headway_router.errors import ConnectionBroken
from headway_router.transport.h2.header_blocks import HeaderDecoder, HeadersTooLarge
from headway_router.transport.h2.heads import HeadReader
from headway_router.transport.h2.request_head import MalformedHead, read_head

ID = "x-headway-request-id"
names = st.sampled_from(["a", "content-type", "x-long-" + "n" * 200, ":path", "accept"])
values = st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=300)
fields = st.lists(st.tuples(names, values), max_size=12)


def a_decoder(limit: int = 2**16) -> HeaderDecoder:
    decoder = HeaderDecoder(limit)
    decoder.table_is_empty()
    return decoder


def encoded(sent: frames.Fields, *, huffman: bool) -> bytes:
    encoder = hpack.Encoder()
    encoder.header_table.maxsize = 0
    block: bytes = encoder.encode(sent, huffman=huffman)
    return block


@settings(deadline=None)
@given(st.lists(st.tuples(fields, st.booleans()), max_size=4))
def test_blocks_are_decoded_as_they_were_encoded(
    blocks: list[tuple[list[tuple[str, str]], bool]],
) -> None:
    decoder = a_decoder()
    for sent, huffman in blocks + blocks:
        expected = [(name.encode(), value.encode()) for name, value in sent]
        assert decoder.decode(encoded(sent, huffman=huffman)) == expected


bytes_of_blocks = st.lists(
    st.sampled_from([b"\x0f", b"\x7f", b"\xff", b"\x00", b"\x20", b"\x82", b"\x81"])
    | st.binary(max_size=8)
).map(b"".join)


@settings(deadline=None, max_examples=500)
@given(bytes_of_blocks)
def test_any_bytes_are_a_block_or_an_error(block: bytes) -> None:
    """And hpack agrees."""
    reference = hpack.Decoder()
    reference.max_allowed_table_size = reference.header_table_size = 0
    try:
        expected = [(bytes(n), bytes(v)) for n, v in reference.decode(block, raw=True)]
    except hpack.HPACKError:
        expected = None
    try:
        decoded = a_decoder().decode(block)
    except ConnectionBroken:
        decoded = None
    assert decoded == expected


@settings(deadline=None)
@given(st.lists(bytes_of_blocks, max_size=4))
def test_any_bytes_are_blocks_or_an_error_while_there_is_a_table(blocks: list[bytes]) -> None:
    decoder = HeaderDecoder(2**16)
    try:
        decoded = [decoder.decode(block) for block in blocks]
    except ConnectionBroken as broken:
        assert broken.code == 9  # noqa: PT017 - it is an error or not
    else:
        assert len(decoded) == len(blocks)


@settings(deadline=None)
@given(
    ids=st.lists(st.text("0123456789abcdef-", max_size=300), min_size=1, max_size=6),
    extra=st.lists(st.tuples(st.sampled_from(["x-a", "x-b", ID]), values), max_size=3),
    at=st.integers(0, 3),
    huffman=st.booleans(),
)
def test_heads_that_differ_in_the_id_are_read_as_if_alone(
    ids: list[str], extra: list[tuple[str, str]], at: int, huffman: bool
) -> None:
    reader, decoder = HeadReader(a_decoder(), ID), a_decoder()
    for request_id in ids:
        metadata = [*extra[:at], (ID, request_id), *extra[at:]]
        block = encoded([*frames.request(), *metadata], huffman=huffman)
        assert reader.read(block) == read_head(decoder.decode(block))


@settings(deadline=None)
@given(st.binary(max_size=8), st.integers(0, 200), st.integers(0, 200))
def test_a_known_block_that_was_tampered_with_is_read_as_if_alone(
    put: bytes, start: int, size: int
) -> None:
    sent = encoded(frames.request(x_headway_request_id="r-1"), huffman=True)
    reader = HeadReader(a_decoder(), ID)
    reader.read(sent)
    block = sent[:start] + put + sent[start + size :]
    outcomes: list[object] = []
    for read in (reader.read, lambda b: read_head(a_decoder().decode(b))):
        try:
            outcomes.append(read(block))
        except (ConnectionBroken, HeadersTooLarge, MalformedHead) as error:
            outcomes.append((type(error), str(error)))
    assert outcomes[0] == outcomes[1]


def test_a_long_id_in_a_known_block_is_still_too_long() -> None:
    reader = HeadReader(a_decoder(limit=1000), ID)
    reader.read(encoded(frames.request(x_headway_request_id="r"), huffman=False))
    long = encoded(frames.request(x_headway_request_id="r" * 700), huffman=False)
    with pytest.raises(HeadersTooLarge):
        reader.read(long)
