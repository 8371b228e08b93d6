"""What the simulated model says: the next token is a hash of everything before it.

    token_n = generated_ids[blake2b(salt, token_0 ... token_{n-1}) mod len(generated_ids)]

So greedy answers are equal on every instance, depend on the whole context and on the adapter, and
continuing a prompt by its own answer continues the answer.  Sampled answers (temperature > 0) mix
in a salt of their own.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

_DIGEST_BYTES = 8


class Continuation:
    """Tokens that follow a prompt, computed when first asked for."""

    def __init__(self, prompt: Sequence[int], generated_ids: Sequence[int], salt: str) -> None:
        self._generated_ids = generated_ids
        key = hashlib.blake2b(salt.encode(), digest_size=32).digest()
        self._context = hashlib.blake2b(
            np.asarray(prompt, dtype="<u4").tobytes(), digest_size=_DIGEST_BYTES, key=key
        )
        self.uniform = self._draw() / 2 ** (8 * _DIGEST_BYTES)
        """In [0, 1), a function of the prompt and the salt: where this answer ends."""
        self.tokens: list[int] = []
        self._end: tuple[int, int] | None = None

    def end_at(self, count: int, eos_token_id: int) -> None:
        """Make token number ``count`` (from 1) the one that ends the answer."""
        self._end = (count, eos_token_id)

    def upto(self, count: int) -> list[int]:
        """The list of the tokens so far, at least ``count`` of them."""
        tokens, ids = self.tokens, self._generated_ids
        while len(tokens) < count:
            if self._end is not None and len(tokens) + 1 == self._end[0]:
                token = self._end[1]
            else:
                token = ids[self._draw() % len(ids)]
            self._context.update(token.to_bytes(4, "little"))
            tokens.append(token)
        return tokens

    def _draw(self) -> int:
        return int.from_bytes(self._context.copy().digest(), "little")
