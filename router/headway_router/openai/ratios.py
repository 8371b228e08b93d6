"""How many tokens a byte of canonical content is, per model: 0.25 until usage says otherwise."""

START_TOKENS_PER_BYTE = 0.25
"""English text on current tokenizers: about four bytes a token."""

PRIOR_BYTES = 20_000.0
"""The start counts as much as this much evidence: a few short prompts do not overturn it."""
MEMORY_BYTES = 2_000_000.0
"""Older evidence fades, so that the ratio follows a change of language or content."""


class TokenRatios:
    """Learned from the prompt tokens that engines report.

        tokens_per_byte = (start * prior + sum of tokens) / (prior + sum of bytes)

    with both sums scaled down together when the bytes exceed ``MEMORY_BYTES``.  Keys are models
    of the fleet, never what a client wrote, so the table is as small as the fleet.
    """

    def __init__(self) -> None:
        self._tokens_and_bytes: dict[str, tuple[float, float]] = {}

    def tokens_per_byte(self, model: str) -> float:
        tokens, size = self._tokens_and_bytes.get(model, (0.0, 0.0))
        return (START_TOKENS_PER_BYTE * PRIOR_BYTES + tokens) / (PRIOR_BYTES + size)

    def learn(self, model: str, content_bytes: int, prompt_tokens: int) -> None:
        tokens, size = self._tokens_and_bytes.get(model, (0.0, 0.0))
        tokens += prompt_tokens
        size += content_bytes
        if size > MEMORY_BYTES:
            tokens *= MEMORY_BYTES / size
            size = MEMORY_BYTES
        self._tokens_and_bytes[model] = tokens, size
