"""Chat and completions of a running server: what the contract leaves open."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
USAGE = {"stream_options": {"include_usage": True}}

Launch = Callable[..., Coroutine[Any, Any, Any]]


def asked(prompt: Any = "the house", **fields: Any) -> dict[str, Any]:
    return {"prompt": prompt, "temperature": 0, "max_tokens": 40, "ignore_eos": True, **fields}


def said(events: list[Any], index: int = 0) -> str:
    choices = [choice for event in events[:-1] for choice in event["choices"]]
    return "".join(c.get("text") or "" for c in choices if c["index"] == index)


async def test_a_slow_consumer_gets_several_tokens_in_a_chunk(launch: Launch) -> None:
    engine = await launch()
    await engine.control("/slow_chunks", delay_s=0.03)
    reply = await engine.post(COMPLETIONS, asked(stream=True, **USAGE))
    *chunks, usage, done = reply.events
    assert done == "[DONE]"
    assert usage["usage"]["completion_tokens"] == 40
    assert 0 < len(chunks) < 30
    plain = await engine.post(COMPLETIONS, asked())
    assert said(reply.events) == plain.json["choices"][0]["text"]


async def test_a_stream_interval_bundles_tokens_after_the_first(launch: Launch) -> None:
    engine = await launch(stream_interval=10)
    body = asked(stream=True, return_token_ids=True)
    reply = await engine.post(COMPLETIONS, body)
    sizes = [len(event["choices"][0]["token_ids"]) for event in reply.events[:-1]]
    assert sum(sizes) == 40
    assert sizes[0] == 1
    # A late event loop can split what came with the first token off its bundle.
    assert len(sizes) <= 6


async def test_a_stop_string_cuts_plain_and_streamed_answers_alike(launch: Launch) -> None:
    engine = await launch()
    whole = (await engine.post(COMPLETIONS, asked())).json["choices"][0]["text"]
    stop = whole[50:53]
    plain = (await engine.post(COMPLETIONS, asked(stop=stop))).json["choices"][0]
    reply = await engine.post(COMPLETIONS, asked(stop=[stop], stream=True))
    last = reply.events[-2]["choices"][0]
    assert plain["text"] == said(reply.events) == whole[: whole.index(stop)]
    assert (plain["finish_reason"], plain["stop_reason"]) == ("stop", stop)
    assert (last["finish_reason"], last["stop_reason"]) == ("stop", stop)


async def test_an_answer_ends_by_itself_after_its_natural_length(launch: Launch) -> None:
    engine = await launch(output_tokens=10)
    body = (await engine.post(COMPLETIONS, asked(ignore_eos=False))).json
    assert body["choices"][0]["finish_reason"] == "stop"
    assert 5 <= body["usage"]["completion_tokens"] <= 15
    stops = 'vllm:request_success_total{engine="0",finished_reason="stop",model_name="tiny"}'
    assert await engine.value(stops) == 1


async def test_an_echo_comes_before_the_answer(launch: Launch) -> None:
    engine = await launch()
    plain = (await engine.post(COMPLETIONS, asked(echo=True))).json["choices"][0]["text"]
    reply = await engine.post(COMPLETIONS, asked(echo=True, stream=True))
    assert plain.startswith("the house")
    assert said(reply.events) == plain


async def test_samples_differ_from_each_other_and_a_seed_repeats_them(launch: Launch) -> None:
    engine = await launch()
    body = asked(n=3, temperature=1.0, seed=7)
    first, second = [(await engine.post(COMPLETIONS, body)).json for _ in range(2)]
    texts = [[choice["text"] for choice in answer["choices"]] for answer in (first, second)]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) == 3
    unseeded = await engine.post(COMPLETIONS, asked(temperature=1.0))
    again = await engine.post(COMPLETIONS, asked(temperature=1.0))
    assert unseeded.json["choices"][0]["text"] != again.json["choices"][0]["text"]


async def test_choices_of_a_prompt_list_stream_under_their_own_index(launch: Launch) -> None:
    engine = await launch()
    prompts = ["the house", "the world"]
    plain = (await engine.post(COMPLETIONS, asked(prompt=prompts))).json
    reply = await engine.post(COMPLETIONS, asked(prompt=prompts, stream=True))
    for index in range(2):
        assert said(reply.events, index) == plain["choices"][index]["text"]


async def test_token_ids_of_prompt_and_answer_are_shown_on_request(launch: Launch) -> None:
    engine = await launch()
    body = asked([5, 6, 7], return_token_ids=True)
    plain = (await engine.post(COMPLETIONS, body)).json["choices"][0]
    reply = await engine.post(COMPLETIONS, {**body, "stream": True})
    first, *others = [event["choices"][0] for event in reply.events[:-1]]
    assert plain["prompt_token_ids"] == first["prompt_token_ids"] == [5, 6, 7]
    assert {choice["prompt_token_ids"] for choice in others} == {None}
    streamed = [token for choice in [first, *others] for token in choice["token_ids"]]
    assert streamed == plain["token_ids"]


async def test_usage_in_every_chunk_grows_to_the_total(launch: Launch) -> None:
    engine = await launch()
    options = {"include_usage": True, "continuous_usage_stats": True}
    reply = await engine.post(COMPLETIONS, asked(stream=True, stream_options=options))
    counts = [event["usage"]["completion_tokens"] for event in reply.events[:-1]]
    assert counts == sorted(counts)
    assert counts[-1] == 40


async def test_usage_can_be_forced_by_the_server(launch: Launch) -> None:
    engine = await launch(enable_force_include_usage=True)
    reply = await engine.post(COMPLETIONS, asked(stream=True))
    assert reply.events[-2]["usage"]["completion_tokens"] == 40


async def test_a_conversation_finds_its_last_answer_in_the_cache(launch: Launch) -> None:
    engine = await launch(enable_prompt_tokens_details=True, block_size=16)
    messages = [{"role": "user", "content": "tell me " * 40}]
    body = {"temperature": 0, "max_tokens": 64, "ignore_eos": True}
    first = (await engine.post(CHAT, {**body, "messages": messages})).json
    messages.append(first["choices"][0]["message"])
    messages.append({"role": "user", "content": "more"})
    usage = (await engine.post(CHAT, {**body, "messages": messages})).json["usage"]
    # All but the token that the answer ended with, in whole blocks.
    reusable = first["usage"]["total_tokens"] - 1
    assert usage["prompt_tokens_details"]["cached_tokens"] == reusable // 16 * 16


async def test_without_prefix_caching_nothing_is_found(launch: Launch) -> None:
    engine = await launch(enable_prefix_caching=False, enable_prompt_tokens_details=True)
    body = asked("the house of the world " * 20)
    await engine.post(COMPLETIONS, body)
    usage = (await engine.post(COMPLETIONS, body)).json["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    assert await engine.value('vllm:prefix_cache_queries_total{engine="0",model_name="tiny"}') == 0


async def test_a_long_prompt_is_cut_into_steps(launch: Launch) -> None:
    engine = await launch(max_num_batched_tokens=128)
    body = (await engine.post(COMPLETIONS, asked("x" * 4000, max_tokens=1))).json
    assert body["usage"]["prompt_tokens"] == 1000
    steps = engine.server.driver.stats().steps
    assert steps >= 8


async def test_a_client_that_leaves_frees_the_engine(launch: Launch) -> None:
    engine = await launch(dilation=50.0)
    running = 'vllm:num_requests_running{engine="0",model_name="tiny"}'
    async with engine.stream(COMPLETIONS, asked(max_tokens=1900)) as response:
        await response.content.readany()
        await engine.until(running, 1)
    await engine.until(running, 0)
    assert engine.server.driver.in_flight == 0


async def test_many_streams_end_with_all_their_tokens(launch: Launch) -> None:
    engine = await launch()

    async def one(number: int) -> None:
        reply = await engine.post(COMPLETIONS, asked(f"number {number}", stream=True, **USAGE))
        answers.append(reply.events[-2]["usage"]["completion_tokens"])

    answers: list[int] = []
    async with asyncio.TaskGroup() as tasks:
        for number in range(24):
            tasks.create_task(one(number))
    assert answers == [40] * 24
    assert await engine.value('vllm:generation_tokens_total{engine="0",model_name="tiny"}') == 960


async def test_a_model_folder_without_a_template_has_no_chat(
    launch: Launch, model_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_text((model_folder / "tokenizer.json").read_text())
    engine = await launch(model=str(tmp_path))
    reply = await engine.post(CHAT, {"messages": [{"role": "user", "content": "a"}]})
    assert reply.status == 400
    assert "no chat template" in reply.json["error"]["message"]
    assert (await engine.post(COMPLETIONS, {"prompt": "a"})).status == 200
