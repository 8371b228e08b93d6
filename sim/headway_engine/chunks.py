"""Chunks of a streamed answer as bytes, the constant parts written once per stream.

Chat and completions differ in their names and in the fields of a choice; the first chunk of chat
carries the role, completions have no such chunk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from headway_engine.event_stream import event


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one chunk says of one choice."""

    index: int
    text: str
    finish_reason: str | None = None
    """None: more follows."""
    stop_reason: str | int | None = None
    token_ids: Sequence[int] | None = None
    prompt_token_ids: Sequence[int] | None = None
    extra: bytes = b""
    """Fields after the choices; see ``extra``."""


class ChatChunks:
    kind = "chat.completion.chunk"

    def __init__(self, head: bytes) -> None:
        self._head = head

    def opening(self, index: int, extra: bytes) -> bytes:
        choice = (
            b'{"index":%d,"delta":{"role":"assistant","content":""},"logprobs":null,'
            b'"finish_reason":null}' % index
        )
        return event(self._head + choice + b"]" + extra + b"}")

    def piece(self, piece: Piece) -> bytes:
        reasons = b'"finish_reason":null'
        if piece.finish_reason is not None:
            # The last chunk alone has the second reason.
            reasons = b'"finish_reason":%s,"stop_reason":%s' % (
                orjson.dumps(piece.finish_reason),
                orjson.dumps(piece.stop_reason),
            )
        return event(
            b'%s{"index":%d,"delta":{"content":%s},"logprobs":null,%s,"token_ids":%s}]%s}'
            % (
                self._head,
                piece.index,
                orjson.dumps(piece.text),
                reasons,
                orjson.dumps(piece.token_ids),
                piece.extra,
            )
        )


class CompletionChunks:
    kind = "text_completion"

    def __init__(self, head: bytes) -> None:
        self._head = head

    def piece(self, piece: Piece) -> bytes:
        return event(
            b'%s{"index":%d,"text":%s,"logprobs":null,"finish_reason":%s,"stop_reason":%s,'
            b'"prompt_token_ids":%s,"token_ids":%s}]%s}'
            % (
                self._head,
                piece.index,
                orjson.dumps(piece.text),
                orjson.dumps(piece.finish_reason),
                orjson.dumps(piece.stop_reason),
                orjson.dumps(piece.prompt_token_ids),
                orjson.dumps(piece.token_ids),
                piece.extra,
            )
        )


def head(kind: str, response_id: str, created_s: int, model: str) -> bytes:
    """Everything of a chunk before its choices."""
    return b'{"id":%s,"object":"%s","created":%d,"model":%s,"choices":[' % (
        orjson.dumps(response_id),
        kind.encode(),
        created_s,
        orjson.dumps(model),
    )


def extra(fields: dict[str, Any]) -> bytes:
    """Fields after the choices."""
    return b"," + orjson.dumps(fields)[1:-1] if fields else b""
