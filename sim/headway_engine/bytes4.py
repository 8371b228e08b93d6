"""A tokenizer without a vocabulary file: four bytes of UTF-8 are one token.

A token id is its four bytes read as a little-endian integer, so ids depend on content alone, every
process agrees on them, and decoding is exact.  Text is cut from its start, hence equal beginnings
give equal tokens; every part of a chat message starts at a token boundary (padded with zero bytes),
so an answer that comes back as history has the tokens it was generated with.
"""

import codecs
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from headway_engine.token_ids import TokenIds

WIDTH = 4
"""Bytes per token: close to what common vocabularies reach on English text."""

_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_WORDS = [f" {a}{v}{b}" for a in _CONSONANTS for v in _VOWELS for b in _CONSONANTS]
_END_OF_TURN = b"</s>"


def _tokens(data: bytes) -> TokenIds:
    padded = data + bytes(-len(data) % WIDTH)
    return array("I", np.frombuffer(padded, dtype="<u4").astype(np.uint32).tobytes())


def _padded(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return data + bytes(-len(data) % WIDTH)


class Bytes4Tokenizer:
    vocabulary_size = 1 << (8 * WIDTH)
    eos_token_id: int | None = _tokens(_END_OF_TURN)[0]
    generated_ids: Sequence[int] = [_tokens(word.encode())[0] for word in _WORDS]
    """What the model picks its answers from: short invented words of exactly one token."""

    def encode(self, text: str) -> TokenIds:
        return _tokens(text.encode("utf-8", "replace"))

    def encode_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Any] | None = None,
        add_generation_prompt: bool = True,
    ) -> TokenIds:
        parts = []
        if tools:
            parts += [_padded("<|tools|>\n"), _padded(orjson.dumps(tools).decode()), _END_OF_TURN]
        for message in messages:
            parts += [_padded(f"<|{message['role']}|>\n"), _padded(message["content"])]
            parts.append(_END_OF_TURN)
        if add_generation_prompt:
            parts.append(_padded("<|assistant|>\n"))
        return _tokens(b"".join(parts))

    def decode(self, ids: Sequence[int]) -> str:
        return _bytes_of(ids).decode("utf-8", "replace")

    def token_text(self, token: int) -> str:
        return self.decode([token])

    def stream(self) -> "Bytes4Stream":
        return Bytes4Stream()


def _bytes_of(ids: Sequence[int]) -> bytes:
    data = np.asarray(ids, dtype="<u4").tobytes()
    return data.replace(_END_OF_TURN, b"").replace(b"\0", b"")


class Bytes4Stream:
    """Text of one sequence, token by token; holds back bytes of an unfinished character."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def step(self, token: int) -> str:
        data = token.to_bytes(WIDTH, "little")
        if data == _END_OF_TURN:
            return ""
        return self._decoder.decode(data.rstrip(b"\0"))
