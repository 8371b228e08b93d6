"""Chat and completions, plain and streamed: keys, types, headers and the order of chunks."""

from collections.abc import Callable
from typing import Any

import pytest

from engine_contract.client import CHAT, COMPLETIONS, DONE, Client
from engine_contract.long_requests import LongRequests
from engine_contract.servers import Folders
from engine_contract.shapes import shape
from engine_contract.undisturbed import presume, undisturbed

MESSAGES = [{"role": "user", "content": "the house of the world"}]

RECORDED_BODIES = [
    "/version",
    "/v1/models",
    "/load",
    "/kv_event_sources",
    "chat non-stream",
    "chat non-stream again with X-Request-Id and priority",
    "completion non-stream request_id in body",
    "lora chat",
    "tokenize",
    "completion tokens prompt + return_token_ids + cache_salt",
    "completion tokens prompt + cache_salt again",
    "completion tokens prompt other salt",
    "completion tokens prompt lora sql",
    "n=2 with ignore_eos",
    "prompt list batch of 2",
]
RECORDED_STREAMS = [
    "chat stream include_usage",
    "chat stream include_usage + continuous_usage_stats",
    "completions stream include_usage",
    "chat stream no usage",
]


def full_length(body: Any) -> Any:
    """The recorded request, so that a different random text cannot end it early."""
    return {**body, "ignore_eos": True} if "max_tokens" in body else body


def same_headers(recorded: dict[str, str | None], received: dict[str, str]) -> None:
    assert received.keys() == recorded.keys()
    fixed = {name: value for name, value in recorded.items() if value is not None}
    assert {name: received[name] for name in fixed} == fixed


def without_cached_tokens(usage: dict[str, Any]) -> dict[str, Any]:
    """Token counts that do not depend on what the cache held."""
    return {key: value for key, value in usage.items() if isinstance(value, int)}


@pytest.mark.parametrize("name", RECORDED_BODIES)
async def test_a_body_has_the_recorded_keys_types_and_headers(
    main: Client, exchanges: dict[str, Any], name: str
) -> None:
    recorded = exchanges[name]
    if recorded["method"] == "GET":
        answer = await main.get(recorded["path"])
    else:
        body = full_length(recorded["body"])
        answer = await main.post(recorded["path"], body, recorded.get("headers"))
    assert answer.status == recorded["status"]
    assert shape(answer.json) == shape(recorded["response"])
    same_headers(recorded["response_headers"], dict(answer.headers))
    if "usage" in recorded["response"]:
        expected = without_cached_tokens(recorded["response"]["usage"])
        assert without_cached_tokens(answer.json["usage"]) == expected


@pytest.mark.parametrize("path", ["/health", "/ping"])
async def test_an_answer_without_a_body_has_the_recorded_headers(
    main: Client, exchanges: dict[str, Any], path: str
) -> None:
    answer = await main.get(path)
    assert (answer.status, answer.text) == (200, "")
    same_headers(exchanges[path]["response_headers"], dict(answer.headers))


async def test_the_tokenizer_is_the_recorded_one(main: Client, exchanges: dict[str, Any]) -> None:
    recorded = exchanges["tokenize"]
    answer = await main.post("/tokenize", recorded["body"])
    assert answer.json == recorded["response"]


async def test_text_survives_tokenize_and_detokenize(main: Client) -> None:
    tokens = await main.tokenize(prompt=" the system")
    answer = await main.post("/detokenize", {"model": "tiny", "tokens": tokens})
    assert answer.json == {"prompt": " the system"}


async def test_the_model_list_names_adapters_with_their_base_model_and_folder(
    main: Client, folders: Folders
) -> None:
    answer = await main.get("/v1/models")
    listed = [(m["id"], m["root"], m["parent"]) for m in answer.json["data"]]
    assert listed == [
        ("tiny", str(folders.model), None),
        ("sql", folders.adapter("sql"), "tiny"),
        ("chat", folders.adapter("chat"), "tiny"),
    ]


@pytest.mark.parametrize("name", RECORDED_STREAMS)
@undisturbed
async def test_the_chunks_of_a_stream_have_the_recorded_keys_types_and_headers(
    main: Client, exchanges: dict[str, Any], name: str
) -> None:
    recorded = exchanges[name]
    body = full_length(recorded["body"])
    async with main.stream(recorded["path"], body, recorded.get("headers")) as stream:
        events = await stream.rest()
    assert stream.status == 200
    parts = [part_of(event) for event in events]
    presume("content" in parts, "one chunk carried every token")
    same_headers(recorded["response_headers"], stream.headers)
    assert shapes_by_part(events) == shapes_by_part(recorded["events"])


def shapes_by_part(events: list[Any]) -> dict[str, list[Any]]:
    """Distinct shapes of each part of a stream: one chunk may carry one token or several."""
    parts: dict[str, list[Any]] = {}
    for event in events:
        shapes = parts.setdefault(part_of(event), [])
        if (seen := shape(event)) not in shapes:
            shapes.append(seen)
    return parts


def part_of(event: Any) -> str:
    if event == DONE:
        return "done"
    if not event["choices"]:
        return "usage"
    choice = event["choices"][0]
    if "role" in choice.get("delta", {}):
        return "role"
    return "content" if choice["finish_reason"] is None else "last content"


@pytest.mark.parametrize("include_usage", [True, False])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_a_stream_is_role_then_content_then_usage_then_done(
    main: Client, path: str, include_usage: bool
) -> None:
    asked = 24
    prompt = {"messages": MESSAGES} if path == CHAT else {"prompt": "the house"}
    body = {"model": "tiny", **prompt, "max_tokens": asked, "ignore_eos": True}
    if include_usage:
        body["stream_options"] = {"include_usage": True}
    async with main.stream(path, body) as stream:
        events = await stream.rest()

    parts = [part_of(event) for event in events]
    role = ["role"] if path == CHAT else []
    contents = parts[len(role) : parts.index("last content")]
    usage = ["usage"] if include_usage else []
    assert parts == [*role, *contents, "last content", *usage, "done"]
    assert set(contents) <= {"content"}
    assert len(contents) < asked
    assert len({event["id"] for event in events if event != DONE}) == 1
    if include_usage:
        counts = events[-2]["usage"]
        assert counts["completion_tokens"] == asked
        assert counts["total_tokens"] == counts["prompt_tokens"] + asked


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_a_stream_carries_the_text_of_the_plain_answer(main: Client, path: str) -> None:
    prompt = {"messages": MESSAGES} if path == CHAT else {"prompt": "once upon a time"}
    body = {"model": "tiny", **prompt, "max_tokens": 32, "temperature": 0, "ignore_eos": True}
    answer = await main.post(path, body)
    async with main.stream(path, body) as stream:
        events = await stream.rest()
    choices = [event["choices"][0] for event in events if event != DONE]
    if path == CHAT:
        plain = answer.json["choices"][0]["message"]["content"]
        streamed = "".join(choice["delta"].get("content") or "" for choice in choices)
    else:
        plain = answer.json["choices"][0]["text"]
        streamed = "".join(choice["text"] for choice in choices)
    assert plain != ""
    assert streamed == plain


async def test_usage_counts_every_token_asked_for(
    main: Client, fresh_prompt: Callable[[int], list[int]]
) -> None:
    for prompt_tokens, asked in [(1, 1), (33, 7), (700, 2)]:
        body = await main.complete(fresh_prompt(prompt_tokens), max_tokens=asked)
        usage = body["usage"]
        assert usage["prompt_tokens"] == prompt_tokens
        assert usage["completion_tokens"] == asked
        assert usage["total_tokens"] == prompt_tokens + asked
        assert body["choices"][0]["finish_reason"] == "length"


async def test_an_answer_ends_where_the_context_ends(
    main: Client, fresh_prompt: Callable[[int], list[int]]
) -> None:
    body = await main.complete(fresh_prompt(2000), max_tokens=100)
    assert body["usage"]["total_tokens"] == 2048
    assert body["choices"][0]["finish_reason"] == "length"


async def test_timings_are_absent_where_an_answer_has_several_choices(main: Client) -> None:
    one = await main.complete("the house", max_tokens=2)
    several = await main.complete("the house", max_tokens=2, n=2, temperature=1.0)
    listed = await main.complete(["the house", "the world"], max_tokens=2)
    assert one["metrics"].keys() == {
        "time_to_first_token_ms",
        "generation_time_ms",
        "queue_time_ms",
        "mean_itl_ms",
        "tokens_per_second",
        "speculative_decoding",
    }
    assert (several["metrics"], listed["metrics"]) == (None, None)


@undisturbed
async def test_the_load_counts_open_requests(main: Client) -> None:
    long = await LongRequests.to_begin(main)
    await main.answer_once("/load", lambda answer: answer.json == {"server_load": 0})
    async with main.stream(COMPLETIONS, main.completion("the house", max_tokens=1900)):
        load = (await main.get("/load")).json
        await long.metrics()
    assert load == {"server_load": 1}
