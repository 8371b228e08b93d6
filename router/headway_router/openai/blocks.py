"""Cuts canonical content into blocks and hashes them as a chain."""

from struct import iter_unpack

from xxhash import xxh3_64_intdigest

BLOCK_BYTES = 1024
BLOCK_TOKENS = 256
"""What a block counts as, whatever the learned ratio: ladder depths and rings are in blocks, and
every replica must come to the same ones."""


def block_hashes(content: bytes) -> tuple[int, ...]:
    """The hash of each full block, seeded with the one before: it stands for the whole prefix."""
    full = memoryview(content)[: len(content) // BLOCK_BYTES * BLOCK_BYTES]
    chained = 0
    hashes = []
    for (block,) in iter_unpack(f"{BLOCK_BYTES}s", full):
        chained = xxh3_64_intdigest(block, chained)
        hashes.append(chained)
    return tuple(hashes)
