"""Hashes of KV-cache blocks, equal to those of vLLM 0.32.

    root = H(seed)                  seed: the environment's PYTHONHASHSEED, else "vllm-none-hash"
    h_i  = H((h_{i-1}, tuple(tokens of block i), extra_i))           only full blocks
    H    = sha256(pickle protocol 5)  for "sha256",  sha256(canonical CBOR)  for "sha256_cbor"

``extra_i`` is None, or a tuple of ``("lora", name, path)`` (every block) and ``("cache_salt", s)``
(block 0 only), in this order.  Events, and the engine model, know a block by the low 64 bits.
"""

import hashlib
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from headway_engine import cbor

DEFAULT_SEED = "vllm-none-hash"

ExtraKeys = tuple[tuple[str, ...], ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockIdentity:
    """What besides its tokens makes a request's blocks its own."""

    adapter: str | None = None
    adapter_path: str | None = None
    cache_salt: str | None = None

    def extra_keys(self, index: int) -> ExtraKeys:
        keys: list[tuple[str, ...]] = []
        if self.adapter is not None:
            keys.append(("lora", self.adapter, self.adapter_path or ""))
        if self.cache_salt is not None and index == 0:
            keys.append(("cache_salt", self.cache_salt))
        return tuple(keys) or None

    def published_keys(self, index: int) -> list[str] | None:
        """As an event shows them: untagged, and without the adapter's path."""
        keys = self.extra_keys(index)
        return None if keys is None else [key[1] for key in keys]


def _sha256_pickle(value: Any) -> bytes:
    return hashlib.sha256(pickle.dumps(value, protocol=5)).digest()


def _sha256_cbor(value: Any) -> bytes:
    return hashlib.sha256(cbor.dumps(value)).digest()


ALGORITHMS: dict[str, Callable[[Any], bytes]] = {
    "sha256": _sha256_pickle,
    "sha256_cbor": _sha256_cbor,
}
"""The algorithms whose hashes every process reproduces; vLLM seeds its xxhash ones at random."""


def low64(digest: bytes) -> int:
    return int.from_bytes(digest[-8:], "big")


@dataclass(frozen=True, slots=True)
class BlockHasher:
    block_tokens: int
    algorithm: str = "sha256"
    seed: str = DEFAULT_SEED

    def root(self) -> bytes:
        return ALGORITHMS[self.algorithm](self.seed)

    def extend(
        self, parent: bytes, tokens: Sequence[int], first_index: int, identity: BlockIdentity
    ) -> list[bytes]:
        """Digests of the full blocks of ``tokens``, which start at block ``first_index``."""
        digest, size = ALGORITHMS[self.algorithm], self.block_tokens
        every_block = identity.extra_keys(1)
        chain = []
        for start in range(0, len(tokens) - size + 1, size):
            index = first_index + start // size
            extra = every_block if index else identity.extra_keys(0)
            parent = digest((parent, tuple(tokens[start : start + size]), extra))
            chain.append(parent)
        return chain
