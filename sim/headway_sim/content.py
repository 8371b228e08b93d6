"""Who shares a prefix with whom, as the chained hashes that engines and routers compare.

A prompt is a sequence of segments, and its first ``e`` tokens are known by

    (key and length of every segment before, key of the segment that holds token e, offset in it)

so two prompts have equal hashes exactly as far as their segments agree, for every block size.

A router does not see tokens but bytes.  Each text has its own tokens per byte, so in the router's
estimate (bytes times the mean ratio) a segment of ``tokens`` is

    tokens * exp(error * z - error^2 / 2),      z standard normal, fixed by the segment's key

long: the same text has the same length wherever it occurs, the mean over all texts is right, and
the router's blocks end elsewhere than the engine's.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import exp
from random import Random

from headway_core.affinity.rings import mix
from headway_sim.workloads.request import Segment, WorkloadRequest

_SEED = 0xA0761D6478BD642F
_EDGE, _LENGTH = 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3
"""Odd, so that multiples of them are all different: one prefix, many offsets and lengths."""
_MASK = (1 << 64) - 1
_REMEMBERED = 1 << 18
_RECENT = 4096

_Chain = tuple[tuple[int, ...], int]
"""The hashes of a prompt's full blocks, and the state after its last segment."""


class KeyHashes(dict[str, int]):
    """64 bits for every segment key, the same in all processes; bounded memory."""

    def __missing__(self, key: str) -> int:
        if len(self) >= _REMEMBERED:
            self.clear()
        digest = blake2b(key.encode(), digest_size=8).digest()
        found = self[key] = int.from_bytes(digest, "big")
        return found


class SizeEstimate:
    """How many tokens a router takes a segment for.

    ``error`` is the standard deviation of the logarithm of estimate / truth, by text.
    """

    def __init__(self, error: float, seed: int) -> None:
        self._error = error
        self._seed = seed
        self._factors: dict[str, float] = {}

    @property
    def is_exact(self) -> bool:
        return self._error == 0

    def tokens(self, segment: Segment) -> int:
        """>= 1; the truth if there is no error."""
        if self.is_exact:
            return segment.tokens
        return max(1, round(segment.tokens * self._factor(segment.key)))

    def _factor(self, key: str) -> float:
        found = self._factors.get(key)
        if found is None:
            if len(self._factors) >= _REMEMBERED:
                self._factors.clear()
            z = Random(f"{self._seed}/size/{key}").gauss(0.0, 1.0)
            found = self._factors[key] = exp(self._error * z - self._error**2 / 2)
        return found


class Contents:
    """Hashes of the prompts of one run."""

    def __init__(self, estimate: SizeEstimate) -> None:
        self._estimate = estimate
        self._keys = KeyHashes()
        self._recent: dict[tuple[int, int], tuple[WorkloadRequest, _Chain]] = {}

    def engine_blocks(self, request: WorkloadRequest, block_tokens: int) -> tuple[int, ...]:
        """One hash per full block of the prompt."""
        return self._true_chain(request, block_tokens)[0]

    def router_blocks(
        self, request: WorkloadRequest, block_tokens: int
    ) -> tuple[tuple[int, ...], int]:
        """One hash per full block of the prompt as the router sees it, and its estimated tokens."""
        if self._estimate.is_exact:
            return self._true_chain(request, block_tokens)[0], request.prompt_tokens
        sizes = [self._estimate.tokens(segment) for segment in request.prompt]
        return self._chain(request.prompt, sizes, block_tokens)[0], sum(sizes)

    def answer_blocks(
        self, request: WorkloadRequest, block_tokens: int
    ) -> Callable[[int], int] | None:
        """Hash of block ``index`` once the answer has filled it; None: nobody repeats it."""
        if request.answer_key is None:
            return None
        _, state = self._true_chain(request, block_tokens)
        base = mix(state ^ self._keys[request.answer_key], _SEED)
        prompt_tokens = request.prompt_tokens

        def hash_of(index: int) -> int:
            return base ^ (((index + 1) * block_tokens - prompt_tokens) * _EDGE & _MASK)

        return hash_of

    def _true_chain(self, request: WorkloadRequest, block_tokens: int) -> _Chain:
        """Kept for a while, as routers and engines ask for the same."""
        key = (id(request), block_tokens)  # The entry keeps the request alive, so the id is its.
        found = self._recent.get(key)
        if found is None:
            if len(self._recent) >= _RECENT:
                self._recent.clear()
            sizes = [segment.tokens for segment in request.prompt]
            chain = self._chain(request.prompt, sizes, block_tokens)
            found = self._recent[key] = (request, chain)
        return found[1]

    def _chain(self, prompt: Sequence[Segment], sizes: Sequence[int], block_tokens: int) -> _Chain:
        hashes: list[int] = []
        keys = self._keys
        state, start, edge = 0, 0, block_tokens
        for segment, size in zip(prompt, sizes, strict=True):
            base = mix(state ^ keys[segment.key], _SEED)
            end = start + size
            if edge <= end < edge + block_tokens:
                hashes.append(base ^ ((edge - start) * _EDGE & _MASK))
                edge += block_tokens
            elif edge <= end:
                inside = range(edge - start, size + 1, block_tokens)
                hashes += [base ^ (offset * _EDGE & _MASK) for offset in inside]
                edge += len(inside) * block_tokens
            state = base ^ (segment.tokens * _LENGTH & _MASK)
            start = end
        return tuple(hashes), state
