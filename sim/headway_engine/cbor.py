"""Canonical CBOR of the few types that block hashes are made of (RFC 8949, section 4.2.1).

Integers and lengths take their shortest form; tuples are arrays.
"""

from collections.abc import Sequence

CborValue = None | int | bytes | str | Sequence["CborValue"]

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY = (kind << 5 for kind in (0, 1, 2, 3, 4))
_NULL = b"\xf6"


def dumps(value: CborValue) -> bytes:
    out = bytearray()
    _write(value, out)
    return bytes(out)


def _write(value: CborValue, out: bytearray) -> None:
    match value:
        case None:
            out += _NULL
        case bool():
            raise TypeError("booleans are no part of a block hash")
        case int():
            _head(_UNSIGNED if value >= 0 else _NEGATIVE, value if value >= 0 else -1 - value, out)
        case bytes():
            _head(_BYTES, len(value), out)
            out += value
        case str():
            encoded = value.encode()
            _head(_TEXT, len(encoded), out)
            out += encoded
        case _:
            _head(_ARRAY, len(value), out)
            for item in value:
                _write(item, out)


def _head(kind: int, argument: int, out: bytearray) -> None:
    if argument < 24:
        out.append(kind | argument)
        return
    for code, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << (8 * width):
            out.append(kind | code)
            out += argument.to_bytes(width, "big")
            return
    raise OverflowError(f"{argument} does not fit in 64 bits")
