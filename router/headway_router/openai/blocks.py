"""Cuts canonical content into blocks and hashes them as a chain."""

from collections.abc import Sequence
from struct import iter_unpack

from xxhash import xxh3_64_intdigest

BLOCK_BYTES = 1024
_BLOCK = f"{BLOCK_BYTES}s"
BLOCK_TOKENS = 256
"""What a block counts as, whatever the learned ratio: ladder depths and rings are in blocks, and
every replica must come to the same ones."""


def block_hashes(content: Sequence[bytes]) -> tuple[int, ...]:
    """The hash of each full block, seeded with the one before: it stands for the whole prefix.

    ``content`` comes in parts, cut anywhere: what counts is the whole.
    """
    chained = 0
    hashes: list[int] = []
    rest = b""
    for part in content:
        at = 0
        if rest:
            at = BLOCK_BYTES - len(rest)
            rest += part[:at]
            if len(rest) < BLOCK_BYTES:
                continue
            chained = xxh3_64_intdigest(rest, chained)
            hashes.append(chained)
        end = len(part) - (len(part) - at) % BLOCK_BYTES
        for (block,) in iter_unpack(_BLOCK, memoryview(part)[at:end]):
            chained = xxh3_64_intdigest(block, chained)
            hashes.append(chained)
        rest = part[end:]
    return tuple(hashes)
