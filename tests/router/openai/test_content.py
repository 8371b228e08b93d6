"""Two bodies have the same content when an engine sees the same prompt."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_router.openai.blocks import BLOCK_BYTES, block_hashes
from headway_router.openai.content import content_of
from headway_router.openai.shapes import Shape, is_models_list, shape_of


def canonical(shape: Shape, raw: str) -> bytes:
    content = content_of(shape, orjson.loads(raw))
    assert content is not None
    return b"".join(content.after("m"))


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/chat/completions", Shape.CHAT),
        ("/v1/chat/completions?api-version=1", Shape.CHAT),
        ("/v1/chat/completions/", Shape.CHAT),
        ("/team-a/v1/completions", Shape.COMPLETION),
        ("/v1/responses", Shape.RESPONSE),
        ("/v1/embeddings", Shape.EMBEDDING),
        ("/v1/messages", Shape.MESSAGE),
        ("/v1/messages/count_tokens", Shape.OTHER),
        ("/v1/responses/resp_1", Shape.OTHER),
        ("/tokenize", Shape.OTHER),
        ("", Shape.OTHER),
    ],
)
def test_the_path_says_what_the_body_is(path: str, shape: Shape) -> None:
    assert shape_of(path) is shape


@pytest.mark.parametrize(
    ("path", "answer"), [("/v1/models", True), ("/v1/models/?x", True), ("/v1/models/m", False)]
)
def test_the_list_of_models_has_one_path(path: str, answer: bool) -> None:
    assert is_models_list(path) is answer


@pytest.mark.parametrize(
    ("shape", "one", "other"),
    [
        pytest.param(
            Shape.CHAT,
            '{"messages":[{"role":"user","content":"h\\u00e9 \\/"}],"tools":[{"a":1,"b":2}]}',
            '{ "tools": [{"b": 2, "a": 1}], "messages": [{"content": "hé /", "role": "user"}] }',
            id="key order, white space and escapes",
        ),
        pytest.param(
            Shape.CHAT,
            '{"messages":[{"role":"user","content":"hi"}],"temperature":0}',
            '{"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}',
            id="a string, and one part of text",
        ),
        pytest.param(
            Shape.RESPONSE,
            '{"input":"hi","instructions":"be kind"}',
            '{"input":[{"role":"system","content":"be kind"},'
            '{"role":"user","content":[{"type":"input_text","text":"hi"}]}]}',
            id="instructions, and a system message",
        ),
        pytest.param(
            Shape.MESSAGE,
            '{"system":"s","messages":[{"role":"user","content":"hi"}]}',
            '{"system":[{"type":"text","text":"s"}],'
            '"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}',
            id="Anthropic's blocks, and strings",
        ),
        pytest.param(
            Shape.COMPLETION,
            '{"prompt":"hi"}',
            '{"prompt":["hi"]}',
            id="a prompt, and a list of it",
        ),
        pytest.param(
            Shape.COMPLETION, '{"prompt":[1,2]}', '{"prompt":[[1,2]]}', id="token ids, and a list"
        ),
    ],
)
def test_what_the_engine_sees_alike_is_alike(shape: Shape, one: str, other: str) -> None:
    assert canonical(shape, one) == canonical(shape, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(
            '{"messages":[{"role":"user","content":"a"}]}',
            '{"messages":[{"role":"system","content":"a"}]}',
            id="roles",
        ),
        pytest.param(
            '{"messages":[{"role":"user","content":"ab"}]}',
            '{"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}',
            id="where a message ends",
        ),
        pytest.param(
            '{"messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"1"}]}]}',
            '{"messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"2"}]}]}',
            id="tool calls",
        ),
        pytest.param(
            '{"messages":[],"tools":[{"a":1}]}', '{"messages":[],"tools":[{"a":2}]}', id="tools"
        ),
        pytest.param(
            '{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"a"}}]}]}',
            '{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"b"}}]}]}',
            id="images",
        ),
    ],
)
def test_what_the_engine_sees_apart_is_apart(one: str, other: str) -> None:
    assert canonical(Shape.CHAT, one) != canonical(Shape.CHAT, other)


def test_an_image_counts_as_its_digest_and_not_as_its_base64() -> None:
    def chat(url: str) -> str:
        part = {"type": "image_url", "image_url": {"url": url}}
        return orjson.dumps({"messages": [{"role": "user", "content": [part]}]}).decode()

    assert len(canonical(Shape.CHAT, chat("x" * 100_000))) == len(canonical(Shape.CHAT, chat("x")))


def test_a_tool_result_of_anthropic_counts_with_its_text() -> None:
    part = {"type": "tool_result", "tool_use_id": "t", "content": "x" * 5000}
    raw = orjson.dumps({"messages": [{"role": "user", "content": [part]}]}).decode()
    assert b"x" * 5000 in canonical(Shape.MESSAGE, raw)


def test_token_ids_are_counted_and_not_estimated() -> None:
    content = content_of(Shape.COMPLETION, {"prompt": [[1, 2, 3], [4]]})
    assert content is not None and content.tokens == 4


@given(st.lists(st.text(), min_size=1), st.text())
def test_a_conversation_begins_with_its_past(turns: list[str], more: str) -> None:
    messages = [{"role": "user", "content": turn} for turn in turns]
    longer = [*messages, {"role": "assistant", "content": more}]
    past = content_of(Shape.CHAT, {"messages": messages})
    present = content_of(Shape.CHAT, {"messages": longer})
    assert past is not None and present is not None
    assert b"".join(present.after("m")).startswith(b"".join(past.after("m")))


@given(st.binary(max_size=5 * BLOCK_BYTES), st.binary(max_size=2 * BLOCK_BYTES))
def test_blocks_of_a_prefix_are_a_prefix_of_the_blocks(content: bytes, more: bytes) -> None:
    blocks = block_hashes([content])
    assert len(blocks) == len(content) // BLOCK_BYTES
    assert block_hashes([content + more])[: len(blocks)] == blocks


@given(st.lists(st.binary(max_size=3 * BLOCK_BYTES)))
def test_where_content_is_cut_does_not_matter(parts: list[bytes]) -> None:
    assert block_hashes(parts) == block_hashes([b"".join(parts)])


def test_a_piece_that_is_too_long_to_join_is_where_it_was() -> None:
    turns = [{"role": "user", "content": text * 2**15} for text in ("a", "b", "a")]
    content = content_of(Shape.CHAT, {"messages": turns})
    assert content is not None
    assert b"".join(content.after("m")) == b"".join([b"m", *content.pieces])


@given(st.integers(0, 3 * BLOCK_BYTES - 1))
def test_a_changed_byte_changes_its_block_and_all_after_it(at: int) -> None:
    content = bytes(4 * BLOCK_BYTES)
    changed = content[:at] + b"\x01" + content[at + 1 :]
    pairs = list(zip(block_hashes([content]), block_hashes([changed]), strict=True))
    first = at // BLOCK_BYTES
    assert all(a == b for a, b in pairs[:first])
    assert all(a != b for a, b in pairs[first:])


def test_hashes_are_the_same_in_every_process() -> None:
    assert [f"{h:016x}" for h in block_hashes([bytes(2048)])] == [
        "de5f15ab6daf7941",
        "47702e3544197caa",
    ]
