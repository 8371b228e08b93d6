"""The blocks of one sequence, prompt and answer: their tokens and their hashes, on demand."""

from collections.abc import Sequence

from headway_engine.block_hashes import BlockHasher, BlockIdentity, low64
from headway_engine.continuation import Continuation


class TokenBlocks:
    def __init__(
        self,
        hasher: BlockHasher,
        identity: BlockIdentity,
        prompt: Sequence[int],
        prompt_digests: Sequence[bytes],
        continuation: Continuation,
    ) -> None:
        """``prompt_digests``: of the prompt's full blocks; several samples share them."""
        self.identity = identity
        self._hasher = hasher
        self._prompt = prompt
        self._prompt_digests = prompt_digests
        self._continuation = continuation
        self._digests = list(prompt_digests)

    @property
    def block_tokens(self) -> int:
        return self._hasher.block_tokens

    def prompt_hashes(self) -> list[int]:
        return [low64(digest) for digest in self._prompt_digests]

    def hash_of(self, index: int) -> int:
        """Of block ``index``, generated tokens included."""
        while len(self._digests) <= index:
            first = len(self._digests)
            parent = self._digests[-1] if self._digests else self._hasher.root()
            tokens = self.tokens_of(first, 1)
            self._digests += self._hasher.extend(parent, tokens, first, self.identity)
        return low64(self._digests[index])

    def tokens_of(self, first_index: int, count: int) -> list[int]:
        size = self._hasher.block_tokens
        start, stop = first_index * size, (first_index + count) * size
        prompt_tokens = len(self._prompt)
        tokens = list(self._prompt[start:stop])
        if stop > prompt_tokens:
            answer = self._continuation.upto(stop - prompt_tokens)
            tokens += answer[max(0, start - prompt_tokens) : stop - prompt_tokens]
        return tokens
