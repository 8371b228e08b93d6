"""Cuts canonical content into blocks and hashes them as a chain."""

from itertools import pairwise

from xxhash import xxh3_64_intdigest

BLOCK_BYTES = 1024
BLOCK_TOKENS = 256
"""What a block counts as, whatever the learned ratio: ladder depths and rings are in blocks, and
every replica must come to the same ones."""


def block_hashes(content: bytes) -> tuple[int, ...]:
    """The hash of each full block, seeded with the one before: it stands for the whole prefix."""
    view = memoryview(content)
    chained = 0
    hashes = []
    for start, end in pairwise(range(0, len(content) + 1, BLOCK_BYTES)):
        chained = xxh3_64_intdigest(view[start:end], chained)
        hashes.append(chained)
    return tuple(hashes)
