"""HPACK with an empty table: fields stand alone, so those of equal bytes are equal.

A gateway's header blocks differ in one field, the request's id.  ``hpack`` takes 120 us for such a
block, a lookup for each of its fields and decoding the new one 20.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from hpack import Decoder, HPACKError
from hpack.exceptions import OversizedHeaderListError
from hpack.huffman_table import decode_huffman

from headway_router.errors import ConnectionBroken
from headway_router.transport.h2.frames import ErrorCode

Field = tuple[bytes, bytes]
_V = TypeVar("_V")

FIELD_OVERHEAD_BYTES = 32
"""What a field counts beyond its name and value (RFC 9113, 6.5.2)."""

_STATIC_ENTRIES = 61
_KNOWN_FIELDS = 512
_LONGEST_KNOWN_BYTES = 256
"""What is remembered is bounded: a peer chooses the fields."""


_LONGEST_KNOWN_BLOCK_BYTES = 4096


class HeadersTooLarge(Exception):
    """The block is read, and longer than is allowed."""


class HeaderDecoder:
    def __init__(self, max_list_bytes: int) -> None:
        self._max_list_bytes = max_list_bytes
        self._hpack = Decoder(max_header_list_size=max_list_bytes)
        self._has_no_table = False
        self._fields: dict[bytes, Field] = {}
        self._names: dict[bytes, bytes] = {}

    def table_is_empty(self) -> None:
        """The peer has acknowledged our SETTINGS_HEADER_TABLE_SIZE of zero."""
        self._hpack.max_allowed_table_size = 0
        self._hpack.header_table_size = 0
        self._has_no_table = True

    def decode(self, block: bytes) -> list[Field]:
        """Raises:
        HeadersTooLarge: this block only; the next one can be read.
        ConnectionBroken: it is not HPACK, or the state that blocks share is lost.
        """
        try:
            return self._decode_alone(block) if self._has_no_table else self._decode_all(block)
        except HPACKError as error:
            raise ConnectionBroken(ErrorCode.COMPRESSION_ERROR, str(error)) from error

    def room_after(self, fields: Sequence[Field]) -> int:
        """Bytes that a header list of these may still grow by."""
        return self._max_list_bytes - sum(
            len(name) + len(value) + FIELD_OVERHEAD_BYTES for name, value in fields
        )

    def place_of(self, block: bytes, name: bytes) -> tuple[int, int] | None:
        """Where the one value of that name lies in a block that was decoded.

        None: it is not there, or twice, or the block depends on others, or is too long to keep.
        """
        if not self._has_no_table or len(block) > _LONGEST_KNOWN_BLOCK_BYTES:
            return None
        if block[0] & 0xE0 == 0x20:
            return None
        places = [
            (value_at, end)
            for start, value_at, end in _cut(block)
            if self._decode_field(block[start:end], value_at - start)[0] == name
        ]
        return places[0] if len(places) == 1 else None

    def _decode_all(self, block: bytes) -> list[Field]:
        try:
            return [(bytes(name), bytes(value)) for name, value in self._hpack.decode(block, True)]
        except OversizedHeaderListError as error:
            if self._has_no_table:
                raise HeadersTooLarge from error
            raise ConnectionBroken(ErrorCode.ENHANCE_YOUR_CALM, str(error)) from error

    def _decode_alone(self, block: bytes) -> list[Field]:
        if block and block[0] & 0xE0 == 0x20:
            # A change of the table's size, which only hpack checks; it comes once at most.
            return self._decode_all(block)
        fields = []
        size = 0
        for start, value_at, end in _cut(block):
            if (field := self._fields.get(raw := block[start:end])) is None:
                field = self._decode_field(raw, value_at - start)
            fields.append(field)
            size += len(field[0]) + len(field[1]) + FIELD_OVERHEAD_BYTES
            if size > self._max_list_bytes:
                raise HeadersTooLarge
        return fields

    def _decode_field(self, raw: bytes, value_at: int) -> Field:
        name = self._names.get(raw[:value_at]) if value_at else None
        if name is None:
            ((name, value),) = self._decode_all(raw)
            if value_at and value_at <= _LONGEST_KNOWN_BYTES:
                _room_in(self._names)[raw[:value_at]] = name
        else:
            value = _string(raw, value_at, len(raw))
        if len(raw) <= _LONGEST_KNOWN_BYTES:
            _room_in(self._fields)[raw] = name, value
        return name, value


def decode_string(block: bytes, at: int, end: int) -> str | None:
    """The text of ``block[at:end]``; None: that is not exactly one string."""
    try:
        if at >= end or _after_string(block, at) != end:
            return None
        return _string(block, at, end).decode(errors="replace")
    except (ConnectionBroken, HPACKError):
        return None


def _string(block: bytes, at: int, end: int) -> bytes:
    text = block[_after_number(block, at, 0x7F) : end]
    return bytes(decode_huffman(text)) if block[at] & 0x80 else text


def _room_in(known: dict[bytes, _V]) -> dict[bytes, _V]:
    if len(known) >= _KNOWN_FIELDS:
        known.clear()
    return known


def _cut(block: bytes) -> Iterator[tuple[int, int, int]]:
    """Where each field starts, its value's length lies, and it ends (RFC 7541, 6).

    The second is the first for an entry of the static table, which has no value of its own.

    Raises: ConnectionBroken: the block is cut short, or refers to a table that is empty.
    """
    at, size = 0, len(block)
    while at < size:
        start, first = at, block[at]
        if first & 0x80:
            if not 0 < first & 0x7F <= _STATIC_ENTRIES:
                raise _broken("an index beyond the static table")
            at += 1
            yield start, start, at
            continue
        if first & 0x60 == 0x20:
            raise _broken("a change of the table's size within a block")
        mask = 0x3F if first & 0x40 else 0x0F
        at = _after_number(block, at, mask)
        if not first & mask:
            at = _after_string(block, at)
        value_at, at = at, _after_string(block, at)
        yield start, value_at, at


def _after_number(block: bytes, at: int, mask: int) -> int:
    """Behind the number whose prefix is in ``block[at]``."""
    if block[at] & mask != mask:
        return at + 1
    for end in range(at + 1, len(block)):
        if block[end] < 0x80:
            return end + 1
    raise _broken("a number without an end")


def _after_string(block: bytes, at: int) -> int:
    size = len(block)
    if at >= size:
        raise _broken("a field without a value")
    length = block[at] & 0x7F
    at += 1
    if length == 0x7F:
        shift = 0
        while True:
            if at >= size or shift > 28:
                raise _broken("a string without a length")
            byte = block[at]
            at += 1
            length += (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
    if at + length > size:
        raise _broken("a string longer than its block")
    return at + length


def _broken(what: str) -> ConnectionBroken:
    return ConnectionBroken(ErrorCode.COMPRESSION_ERROR, what)
