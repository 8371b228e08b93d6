"""Request bodies of a given size: chats that share a system prompt and go on differently."""

import json
from random import Random

SYSTEM_BYTES = 1024
_ALPHABET = "abcdefghijklmnopqrstuvwxyz     "
_VARIANTS = 32


def chats(size_bytes: int, model: str) -> list[bytes]:
    """Some chat/completions bodies of about that size, the same in every run."""
    rng = Random(size_bytes)
    system = "".join(rng.choices(_ALPHABET, k=min(SYSTEM_BYTES, size_bytes // 2)))
    bodies = []
    for _ in range(_VARIANTS):
        user = "".join(rng.choices(_ALPHABET, k=max(1, size_bytes - len(system) - 150)))
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        bodies.append(json.dumps({"model": model, "messages": messages, "max_tokens": 16}).encode())
    return bodies
