"""The canonical content of a body: what the engine will see, in its order, as bytes.

Model, adapter and salt, then tools, then role and content of each message, or the prompt.  Two
bodies that differ in key order, white space or escapes have the same content, and a conversation
that goes on begins with the content of its past.
"""

from array import array
from collections.abc import Mapping, Sequence

import orjson
from xxhash import xxh3_128_digest

from headway_core.values import value
from headway_router.openai.fields import (
    missing,
    optional_list,
    optional_string,
    required_list,
    required_string,
    wrong_type,
)
from headway_router.openai.shapes import Shape

Json = Mapping[str, object]

_TOO_LONG_TO_JOIN = 2**15
"""Bytes."""
_RECORD = b"\x1e"
_FIELD = b"\x1f"
_TOKEN_ID = "I"
_TOKEN_ID_BYTES = array(_TOKEN_ID).itemsize
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_CALL_PARTS = frozenset({"tool_use", "thinking", "redacted_thinking", "refusal", "reasoning"})
"""Parts without media, which reach the prompt as text."""


@value
class Content:
    """``tokens`` is the prompt's length where the client sent token ids; None: an estimate."""

    pieces: Sequence[bytes]
    """Records, each behind its separator; pieces, as prompts are too long to be copied often."""
    tokens: int | None = None

    def after(self, *head: str) -> list[bytes]:
        """All of it, behind what else tells prompts apart (model, adapter, salt).

        One part, or three where one piece is so long that joining it would cost more.
        """
        pieces = [_FIELD.join([h.encode() for h in head]), *self.pieces]
        longest = max(pieces, key=len)
        if len(longest) < _TOO_LONG_TO_JOIN:
            return [b"".join(pieces)]
        at = pieces.index(longest)
        return [b"".join(pieces[:at]), longest, b"".join(pieces[at + 1 :])]


def content_of(shape: Shape, body: Json) -> Content | None:
    """None: the shape has no known content.

    Raises:
        RequestRejected: if a field that holds content has a type that no engine takes.
        orjson.JSONEncodeError: if tools or parts are nested too deeply.
    """
    match shape:
        case Shape.CHAT:
            return _chat(body)
        case Shape.COMPLETION:
            return _completion(body)
        case Shape.RESPONSE:
            return _response(body)
        case Shape.EMBEDDING:
            return _embedding(body)
        case Shape.MESSAGE:
            return _message(body)
        case Shape.OTHER:
            return None


def _chat(body: Json) -> Content:
    messages = required_list(body, "messages")
    return Content([*_tools(body), *_turns(messages, "messages")])


def _message(body: Json) -> Content:
    messages = _turns(required_list(body, "messages"), "messages")
    system = body.get("system")
    first = () if system is None else _record(b"system", _text(system, "system"))
    return Content([*_tools(body), *first, *messages])


def _response(body: Json) -> Content:
    given = body.get("input")
    if given is None:
        raise missing("input")
    pieces = _tools(body)
    if (instructions := optional_string(body, "instructions")) is not None:
        pieces += _record(b"system", instructions.encode())
    match given:
        case str():
            pieces += _record(b"user", given.encode())
        case list():
            pieces += _items(given)
        case _:
            raise wrong_type("input", "a string or an array of items", given)
    return Content(pieces)


def _completion(body: Json) -> Content:
    prompt = body.get("prompt")
    if prompt is None and body.get("prompt_embeds") is None:
        raise missing("prompt")
    return Content(()) if prompt is None else _prompt(prompt, "prompt")


def _embedding(body: Json) -> Content:
    if body.get("input") is None:
        if body.get("messages") is None:
            raise missing("input")
        return _chat(body)
    return _prompt(body["input"], "input")


def _prompt(prompt: object, param: str) -> Content:
    """A text, texts, token ids, or lists of token ids."""
    match prompt:
        case str():
            return Content(_record(prompt.encode()))
        case [str(), *_]:
            return Content(
                [
                    piece
                    for i, text in enumerate(prompt)
                    for piece in _record(_string(text, f"{param}.{i}"))
                ]
            )
        case [int(), *_]:
            return Content(_record(_token_ids(prompt, param)), len(prompt))
        case [list(), *_]:
            ids = [_token_ids(p, f"{param}.{i}") for i, p in enumerate(prompt)]
            pieces = [piece for one in ids for piece in _record(one)]
            return Content(pieces, sum(map(len, ids)) // _TOKEN_ID_BYTES)
        case []:
            return Content(())
        case _:
            raise wrong_type(param, "a string, an array of strings, or token ids", prompt)


def _token_ids(ids: object, param: str) -> bytes:
    if not isinstance(ids, list):
        raise wrong_type(param, "an array of token ids", ids)
    try:
        return array(_TOKEN_ID, ids).tobytes()
    except (TypeError, OverflowError):
        at, bad = next((i, v) for i, v in enumerate(ids) if not _is_token_id(v))
        raise wrong_type(f"{param}.{at}", "a token id (an integer >= 0)", bad) from None


def _is_token_id(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 2**32


def _string(value: object, param: str) -> bytes:
    if not isinstance(value, str):
        raise wrong_type(param, "a string", value)
    return value.encode()


def _tools(body: Json) -> list[bytes]:
    tools = optional_list(body, "tools")
    return _record(_dump(tools)) if tools else []


def _record(*fields: bytes) -> list[bytes]:
    pieces = [_RECORD]
    for field in fields:
        pieces += (field, _FIELD)
    return pieces[:-1]


def _turns(messages: list[object], param: str) -> list[bytes]:
    pieces: list[bytes] = []
    for i, message in enumerate(messages):
        if not isinstance(message, dict):
            raise wrong_type(f"{param}.{i}", "an object", message)
        pieces += _turn(message, param, i)
    return pieces


def _turn(message: Json, param: str, i: int) -> tuple[bytes, ...]:
    """Tool calls are part of the turn: without them, all turns without text would look alike."""
    role, content, calls = message.get("role"), message.get("content"), message.get("tool_calls")
    if not (role and isinstance(role, str)):
        role = required_string(message, "role", f"{param}.{i}.role")
    if isinstance(content, str):
        text = content.encode()
    else:
        text = b"" if content is None else _text(content, f"{param}.{i}.content")
    turn = (_RECORD, role.encode(), _FIELD, text)
    return (*turn, _FIELD, _dump(calls)) if calls else turn


def _items(items: list[object]) -> list[bytes]:
    """Items of the Responses API: messages, and others (calls, their results, reasoning)."""
    pieces: list[bytes] = []
    for i, item in enumerate(items):
        if not isinstance(item, dict):
            raise wrong_type(f"input.{i}", "an object", item)
        pieces += _turn(item, "input", i) if "role" in item else _record(_dump(item))
    return pieces


def _text(content: object, at: str) -> bytes:
    match content:
        case str():
            return content.encode()
        case list():
            return _FIELD.join(_part(part, f"{at}.{i}") for i, part in enumerate(content))
        case _:
            raise wrong_type(at, "a string, an array of parts, or null", content)


def _part(part: object, at: str) -> bytes:
    match part:
        case {"type": str(kind), "text": text} if kind in _TEXT_PARTS:
            return _string(text, f"{at}.text")
        case {"type": str(kind)} if kind in _TEXT_PARTS:
            raise missing(f"{at}.text")
        case {"type": "tool_result", "content": str() | list() as result}:
            return _text(result, f"{at}.content")
        case {"type": str(kind)} if kind in _CALL_PARTS:
            return _dump(part)
        case dict():
            # An image is as good as its digest here: its base64 is no text that is tokenized.
            return xxh3_128_digest(_dump(part))
        case str():
            return part.encode()
        case _:
            raise wrong_type(at, "an object", part)


def _dump(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
