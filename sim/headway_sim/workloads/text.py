"""Text for prompts: equal segments give equal bytes, in every process.

Four bytes per token, as the engine's built-in tokenizer counts them: three letters and a space.
"""

from functools import lru_cache
from hashlib import shake_128

from headway_sim.workloads.request import Segment, WorkloadRequest

BYTES_PER_TOKEN = 4

_LETTERS = bytes(ord("a") + value % 26 for value in range(256))


def prompt_text(request: WorkloadRequest) -> str:
    """``prompt_tokens * BYTES_PER_TOKEN`` characters of ASCII."""
    return "".join(map(segment_text, request.prompt))


@lru_cache(maxsize=32_768)
def segment_text(segment: Segment) -> str:
    """The first ``tokens`` words of the endless text that belongs to the key.

    The bound keeps at most 64 MiB of 512-token blocks; one takes 10 us to make again.
    """
    words = bytearray(shake_128(segment.key.encode()).digest(segment.tokens * BYTES_PER_TOKEN))
    words = words.translate(_LETTERS)
    words[BYTES_PER_TOKEN - 1 :: BYTES_PER_TOKEN] = b" " * segment.tokens
    return words.decode("ascii")
