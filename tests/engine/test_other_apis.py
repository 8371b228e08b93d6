"""The Responses and Messages APIs over the same model."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

Launch = Callable[..., Coroutine[Any, Any, Any]]

RESPONSES, MESSAGES, CHAT = "/v1/responses", "/v1/messages", "/v1/chat/completions"
TALK = [{"role": "user", "content": "the house of the world"}]


def named_events(text: str) -> list[tuple[str, Any]]:
    events = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        payload = json.loads(data.removeprefix("data: "))
        assert payload["type"] == name.removeprefix("event: ")
        events.append((payload["type"], payload))
    return events


async def chat_text(engine: Any, **fields: Any) -> str:
    body = {"messages": TALK, "temperature": 0, "max_tokens": 12, **fields}
    text: str = (await engine.post(CHAT, body)).json["choices"][0]["message"]["content"]
    return text


async def test_a_response_says_what_chat_says(launch: Launch) -> None:
    engine = await launch()
    body = {"input": TALK[0]["content"], "max_output_tokens": 12, "temperature": 0}
    answer = (await engine.post(RESPONSES, body)).json
    (item,) = answer["output"]
    assert item["content"][0]["text"] == await chat_text(engine)
    assert (answer["object"], answer["status"]) == ("response", "incomplete")
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    assert answer["usage"]["output_tokens"] == 12


async def test_a_response_streams_numbered_events(launch: Launch) -> None:
    engine = await launch(output_tokens=8)
    body = {"input": TALK, "temperature": 0, "stream": True}
    events = named_events((await engine.post(RESPONSES, body)).text)
    names = [name for name, _ in events]
    deltas = [event["delta"] for name, event in events if name == "response.output_text.delta"]
    assert names[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert names[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for _, event in events] == list(range(len(events)))
    assert "".join(deltas) == events[-4][1]["text"]


async def test_instructions_are_a_system_message(launch: Launch) -> None:
    engine = await launch()
    body = {"input": "hi", "instructions": "be brief", "max_output_tokens": 1}
    with_instructions = (await engine.post(RESPONSES, body)).json["usage"]["input_tokens"]
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    counted = (await engine.post("/tokenize", {"messages": messages})).json["count"]
    assert with_instructions == counted


async def test_input_items_other_than_messages_are_refused(launch: Launch) -> None:
    engine = await launch()
    reply = await engine.post(RESPONSES, {"input": [{"type": "function_call_output"}]})
    assert (reply.status, reply.json["error"]["param"]) == (400, "input")


async def test_a_message_says_what_chat_says(launch: Launch) -> None:
    engine = await launch()
    body = {"model": "tiny", "messages": TALK, "max_tokens": 12, "temperature": 0}
    answer = (await engine.post(MESSAGES, body)).json
    assert answer["content"] == [{"type": "text", "text": await chat_text(engine)}]
    assert (answer["type"], answer["role"]) == ("message", "assistant")
    assert answer["stop_reason"] == "max_tokens"
    assert answer["usage"]["output_tokens"] == 12


async def test_a_message_streams_a_block_between_start_and_stop(launch: Launch) -> None:
    engine = await launch()
    body = {"model": "tiny", "messages": TALK, "max_tokens": 12, "temperature": 0, "stream": True}
    events = named_events((await engine.post(MESSAGES, body)).text)
    names = [name for name, _ in events]
    text = "".join(e["delta"]["text"] for name, e in events if name == "content_block_delta")
    assert names[:2] == ["message_start", "content_block_start"]
    assert set(names[2:-3]) == {"content_block_delta"}
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert text == await chat_text(engine)
    assert events[-2][1]["usage"]["output_tokens"] == 12
    assert events[-2][1]["delta"]["stop_reason"] == "max_tokens"


async def test_a_stop_sequence_is_named(launch: Launch) -> None:
    engine = await launch()
    stop = (await chat_text(engine))[20:24]
    body = {"model": "tiny", "messages": TALK, "max_tokens": 12, "temperature": 0}
    answer = (await engine.post(MESSAGES, {**body, "stop_sequences": [stop]})).json
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("stop_sequence", stop)


async def test_tokens_can_be_counted_without_an_answer(launch: Launch) -> None:
    engine = await launch()
    body = {"model": "tiny", "messages": TALK, "system": "be brief"}
    answer = await engine.post(f"{MESSAGES}/count_tokens", body)
    messages = [{"role": "system", "content": "be brief"}, *TALK]
    counted = (await engine.post("/tokenize", {"messages": messages})).json["count"]
    assert answer.json == {"input_tokens": counted}


@pytest.mark.parametrize("path", [MESSAGES, f"{MESSAGES}/count_tokens"])
async def test_a_message_error_has_the_shape_of_its_api(launch: Launch, path: str) -> None:
    engine = await launch()
    reply = await engine.post(path, {"model": "nope", "messages": TALK, "max_tokens": 1})
    assert reply.status == 404
    assert reply.json["type"] == "error"
    assert reply.json["error"]["type"] == "NotFoundError"


async def test_a_crash_ends_a_response_stream_with_an_error(launch: Launch) -> None:
    engine = await launch()
    async with engine.stream(RESPONSES, {"input": "hi", "ignore_eos": True}) as response:
        await response.content.readany()
        await engine.control("/crash_worker")
        text = (await response.content.read()).decode()
    assert "EngineCore encountered an issue" in text.rstrip().rpartition("\n\n")[2]
