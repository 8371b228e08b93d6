"""Request heads from header blocks; one that is known but for a single value is not read again.

The blocks of a gateway's connection differ in one value, the id of the request.  To read such a
block takes 60 us, to compare it with the last one and to decode that value 10.
"""

from dataclasses import dataclass

from headway_router.transport.h2.header_blocks import HeaderDecoder, decode_string
from headway_router.transport.h2.request_head import RequestHead, read_head

_KNOWN = 4
"""A gateway's filters send the same headers, or few kinds of them."""


@dataclass(frozen=True, slots=True)
class _Known:
    before: bytes
    """The block up to the value that varies, the fields of which stand alone."""
    after: bytes
    head: RequestHead
    room: int
    """The most bytes of a value that the limit of header lists lets pass."""


class HeadReader:
    """``varying`` is the name of the field whose value is another in every request."""

    def __init__(self, decoder: HeaderDecoder, varying: str) -> None:
        self._decoder = decoder
        self._varying = varying
        self._known: list[_Known] = []

    def read(self, block: bytes) -> RequestHead:
        """Raises: ConnectionBroken, HeadersTooLarge, MalformedHead."""
        for known in self._known:
            if block.startswith(known.before) and block.endswith(known.after):
                value = decode_string(block, len(known.before), len(block) - len(known.after))
                if value is not None and len(value) <= known.room:
                    return known.head.with_metadata(self._varying, value)
        fields = self._decoder.decode(block)
        head = read_head(fields)
        self._learn(block, head, self._decoder.room_after(fields))
        return head

    def _learn(self, block: bytes, head: RequestHead, room: int) -> None:
        place = self._decoder.place_of(block, self._varying.encode())
        if place is not None:
            value_at, end = place
            self._known.insert(0, _Known(block[:value_at], block[end:], head, room))
            del self._known[_KNOWN:]
