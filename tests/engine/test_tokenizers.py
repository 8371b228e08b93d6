"""Tokens: the built-in tokenizer's laws, and a model folder's ids."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_engine.bytes4 import Bytes4Tokenizer
from headway_engine.errors import Refused, SettingsInvalid
from headway_engine.folder_tokenizer import FolderTokenizer
from headway_engine.prompts import text_of
from headway_engine.tokenizer import load

BYTES4 = Bytes4Tokenizer()
TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=200)


@given(TEXT)
def test_four_bytes_are_a_token_and_nothing_is_lost(text: str) -> None:
    ids = BYTES4.encode(text)
    assert len(ids) == -(-len(text.encode()) // 4)
    assert BYTES4.decode(ids).replace("</s>", "") == text.replace("</s>", "")


@given(TEXT, TEXT)
def test_equal_beginnings_have_equal_tokens(start: str, rest: str) -> None:
    whole = len(start.encode()) // 4
    assert BYTES4.encode(start + rest)[:whole] == BYTES4.encode(start)[:whole]


@given(TEXT)
def test_a_stream_of_tokens_gives_the_same_text(text: str) -> None:
    ids, stream = BYTES4.encode(text), BYTES4.stream()
    streamed = "".join(stream.step(token) for token in ids)
    if "</s>" not in text:
        assert streamed == text


@given(TEXT)
def test_an_answer_that_comes_back_as_history_continues_the_same_tokens(question: str) -> None:
    asked = [{"role": "user", "content": question}]
    prompt = BYTES4.encode_chat(asked)
    answer = list(BYTES4.generated_ids[:50:7])
    history = [*asked, {"role": "assistant", "content": BYTES4.decode(answer)}]
    following = BYTES4.encode_chat([*history, {"role": "user", "content": "more"}])
    assert list(following[: len(prompt) + len(answer)]) == [*prompt, *answer]


def test_tools_come_before_the_messages() -> None:
    messages = [{"role": "user", "content": "hi"}]
    plain, with_tools = BYTES4.encode_chat(messages), BYTES4.encode_chat(messages, [{"name": "f"}])
    assert with_tools[-len(plain) :] == plain
    assert len(with_tools) > len(plain)


def test_the_folder_of_the_recordings_gives_the_recorded_tokens(model_folder: Path) -> None:
    tokenizer = FolderTokenizer(model_folder)
    messages = [
        {
            "role": "system",
            "content": "you are the people of the world and the house of the system",
        },
        {"role": "user", "content": "the house of the world"},
    ]
    ids = tokenizer.encode_chat(messages)
    assert len(ids) == 37
    assert list(ids[:6]) == [2, 749, 203, 676, 468, 299]
    assert len(tokenizer.encode("once upon a time")) == 4


def test_the_model_of_a_folder_never_says_a_special_token(model_folder: Path) -> None:
    tokenizer = FolderTokenizer(model_folder)
    assert tokenizer.eos_token_id == 3
    assert tokenizer.eos_token_id not in tokenizer.generated_ids
    assert (tokenizer.vocabulary_size, len(tokenizer.generated_ids)) == (896, 844)


def test_text_is_held_back_while_a_character_is_incomplete(model_folder: Path) -> None:
    tokenizer = FolderTokenizer(model_folder)
    stream, ids = tokenizer.stream(), tokenizer.encode("é!")
    pieces = [stream.step(token) for token in ids]
    assert pieces[0] == ""
    assert "".join(pieces) == "é!"


def test_a_model_that_is_no_folder_gets_the_built_in_tokenizer() -> None:
    assert isinstance(load("some-name", None), Bytes4Tokenizer)


def test_a_folder_can_be_combined_with_the_built_in_tokenizer(model_folder: Path) -> None:
    assert isinstance(load(str(model_folder), "bytes4"), Bytes4Tokenizer)
    assert isinstance(load("some-name", str(model_folder)), FolderTokenizer)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"--model: .* has no tokenizer\.json"):
        load(str(tmp_path), None)
    with pytest.raises(SettingsInvalid, match="--tokenizer: 'nowhere' is neither"):
        load("some-name", "nowhere")


def test_parts_of_a_message_are_lines_and_images_are_refused() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert text_of(parts) == "a\nb"
    with pytest.raises(Refused, match="only text is simulated"):
        text_of([{"type": "image_url", "image_url": {}}])
