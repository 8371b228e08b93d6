"""Chunks of a streamed answer as bytes, the constant parts written once per stream.

Chat and completions differ in their names and in the fields of a choice; the first chunk of chat
carries the role, completions have no such chunk.
"""

from typing import Any

import orjson

from headway_engine.event_stream import event


class Ending:
    """What the last chunk of a choice says."""

    __slots__ = ("finish_reason", "stop_reason")

    def __init__(self, finish_reason: str, stop_reason: str | int | None) -> None:
        self.finish_reason = finish_reason
        self.stop_reason = stop_reason


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

    def text(
        self,
        index: int,
        text: str,
        token_ids: list[int] | None,
        ending: Ending | None,
        extra: bytes,
    ) -> bytes:
        reasons = b'"finish_reason":null'
        if ending is not None:
            reasons = b'"finish_reason":%s,"stop_reason":%s' % (
                orjson.dumps(ending.finish_reason),
                orjson.dumps(ending.stop_reason),
            )
        return event(
            b'%s{"index":%d,"delta":{"content":%s},"logprobs":null,%s,"token_ids":%s}]%s}'
            % (self._head, index, orjson.dumps(text), reasons, orjson.dumps(token_ids), extra)
        )


class CompletionChunks:
    kind = "text_completion"

    def __init__(self, head: bytes) -> None:
        self._head = head

    def text(
        self,
        index: int,
        text: str,
        token_ids: list[int] | None,
        ending: Ending | None,
        extra: bytes,
        prompt_token_ids: list[int] | None = None,
    ) -> bytes:
        finish, stop = b"null", b"null"
        if ending is not None:
            finish = orjson.dumps(ending.finish_reason)
            stop = orjson.dumps(ending.stop_reason)
        return event(
            b'%s{"index":%d,"text":%s,"logprobs":null,"finish_reason":%s,"stop_reason":%s,'
            b'"prompt_token_ids":%s,"token_ids":%s}]%s}'
            % (
                self._head,
                index,
                orjson.dumps(text),
                finish,
                stop,
                orjson.dumps(prompt_token_ids),
                orjson.dumps(token_ids),
                extra,
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
