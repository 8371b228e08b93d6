"""Usage is found in every API's answers, wherever the chunks are cut."""

import json
from itertools import pairwise
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_router.openai import usage as reading
from headway_router.openai.usage import Usage, UsageReader

FIXTURE = Path(__file__).parents[2] / "fixtures" / "vllm-0.32" / "exchanges.jsonl"
RECORDED = [json.loads(line) for line in FIXTURE.read_text().splitlines()]


def events(*contents: dict[str, object]) -> bytes:
    """As OpenAI's API sends them, or with their names, as others do."""
    parts = []
    for content in contents:
        name = content.get("type")
        parts.append(b"" if name is None else f"event: {name}\n".encode())
        parts.append(b"data: " + orjson.dumps(content) + b"\n\n")
    return b"".join(parts)


def choice(**delta: str) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": delta}]}


CHAT_TOKENS = events(choice(role="assistant"), choice(content='"usage":{}\n\ndata: '), choice())
CHAT_USAGE = events(
    {
        "choices": [],
        "usage": {
            "prompt_tokens": 37,
            "completion_tokens": 12,
            "total_tokens": 49,
            "prompt_tokens_details": {"cached_tokens": 32},
        },
    }
)
DONE = b"data: [DONE]\n\n"
CHAT = CHAT_TOKENS + CHAT_USAGE + DONE
RESPONSES = events(
    {"type": "response.created", "response": {"usage": None}},
    {"type": "response.output_text.delta", "delta": "usage"},
    {
        "type": "response.completed",
        "response": {
            "usage": {
                "input_tokens": 37,
                "input_tokens_details": {"cached_tokens": 32},
                "output_tokens": 12,
            }
        },
    },
)
ANTHROPIC = events(
    {
        "type": "message_start",
        "message": {
            "usage": {
                "input_tokens": 3,
                "cache_read_input_tokens": 32,
                "cache_creation_input_tokens": 2,
                "output_tokens": 1,
            }
        },
    },
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hi"}},
    {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 12}},
    {"type": "message_stop"},
)
PLAIN = (
    b'\n {"choices":[{"message":{"content":"data: {}\\n\\n"}}],"usage":{"prompt_tokens":37,'
    b'"completion_tokens":12,"prompt_tokens_details":{"cached_tokens":32}}}'
)
BODIES = {"chat": CHAT, "responses": RESPONSES, "anthropic": ANTHROPIC, "json": PLAIN}
TOKENS = {"chat": 3, "responses": 1, "anthropic": 1, "json": 0}


def read(chunks: list[bytes]) -> tuple[UsageReader, int]:
    reader = UsageReader()
    tokens = sum(reader.feed(chunk) for chunk in chunks)
    reader.end()
    return reader, tokens


@pytest.mark.parametrize("end_of_line", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("name", BODIES)
def test_usage_is_the_same_at_every_cut(name: str, end_of_line: bytes) -> None:
    body = BODIES[name] if name == "json" else BODIES[name].replace(b"\n", end_of_line)
    for cut in range(len(body) + 1):
        reader, tokens = read([body[:cut], body[cut:]])
        assert reader.usage == Usage(37, 32, 12), cut
        assert tokens == TOKENS[name], cut
        assert reader.is_complete and not reader.has_error and not reader.is_unreadable


@given(st.data())
def test_usage_is_the_same_in_any_pieces(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(BODIES)))
    body = BODIES[name]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=30)))
    edges = [0, *cuts, len(body)]
    reader, tokens = read([body[a:b] for a, b in pairwise(edges)])
    assert (reader.usage, tokens) == (Usage(37, 32, 12), TOKENS[name])


def test_usage_byte_by_byte() -> None:
    for name, body in BODIES.items():
        reader, tokens = read([body[i : i + 1] for i in range(len(body))])
        assert (reader.usage, tokens) == (Usage(37, 32, 12), TOKENS[name])


@pytest.mark.parametrize(
    "exchange", [e for e in RECORDED if '"prompt_tokens"' in json.dumps(e)], ids=lambda e: e["name"]
)
def test_what_a_real_vllm_reports_is_read(exchange: dict[str, object]) -> None:
    if "response" in exchange:
        body = orjson.dumps(exchange["response"])
        [said] = [exchange["response"]["usage"]]  # type: ignore[index]
    else:
        events = exchange["events"]
        assert isinstance(events, list)
        texts = [e if isinstance(e, str) else json.dumps(e) for e in events]
        body = "".join(f"data: {text}\n\n" for text in texts).encode()
        parsed = [json.loads(t) for t in texts if t != "[DONE]"]
        said = next(e["usage"] for e in reversed(parsed) if e.get("usage"))
    reader, _ = read([body])
    details = said.get("prompt_tokens_details") or {}
    assert reader.usage == Usage(
        said["prompt_tokens"], details.get("cached_tokens"), said.get("completion_tokens")
    )


def test_a_stream_whose_client_asked_for_no_usage_has_none() -> None:
    reader, tokens = read([CHAT_TOKENS + DONE])
    assert reader.usage is None and reader.is_complete and tokens == 3


def test_cached_tokens_that_are_not_told_are_unknown_and_not_zero() -> None:
    reader, _ = read([b'{"usage":{"prompt_tokens":5,"prompt_tokens_details":null}}'])
    assert reader.usage == Usage(5, None, None)


def test_an_error_in_the_middle_of_a_stream_is_seen() -> None:
    reader, _ = read([b'data: {"error": {"message": "EngineCore", "code": 500}}\n\ndata: [DONE]'])
    assert reader.has_error and reader.is_complete and reader.usage is None


@pytest.mark.parametrize("body", [b"\x1f\x8b\x08\x00compressed", b"<html>", b"[1]"])
def test_what_is_neither_json_nor_events_is_not_read(body: bytes) -> None:
    reader, tokens = read([body, CHAT])
    assert reader.is_unreadable and reader.usage is None and tokens == 0


@pytest.mark.parametrize("start", [b"{", b"data: "])
def test_what_is_too_long_is_given_up_and_not_kept(
    start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 1000)
    reader, _ = read([start, *[b"x" * 100] * 20])
    assert reader.is_unreadable and not reader._line and not reader._data


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_no_bytes_break_it(chunks: list[bytes]) -> None:
    read([b"data: ", *chunks])
    read([b"{", *chunks])
    read(chunks)


@pytest.mark.parametrize("usage", ["1", "[]", '{"prompt_tokens":"37"}', '{"prompt_tokens":-1}'])
def test_numbers_that_are_none_are_not_reported(usage: str) -> None:
    reader, _ = read([f'{{"usage":{usage}}}'.encode()])
    assert reader.usage is None
