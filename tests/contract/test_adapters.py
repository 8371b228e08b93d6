"""LoRA adapters: who waits for a slot, what the gauge says, loading at run time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from engine_contract import servers
from engine_contract.client import COMPLETIONS, Client, in_flight
from engine_contract.long_requests import LongRequests
from engine_contract.metrics_text import Exposition
from engine_contract.undisturbed import undisturbed

FreshPrompt = Callable[[int], list[int]]

LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"


def waiting_by_reason(metrics: Exposition) -> tuple[float, float]:
    """Waiting for room, waiting for something else."""
    name = "vllm:num_requests_waiting_by_reason"
    return metrics.value(name, reason="capacity"), metrics.value(name, reason="deferred")


def newest_adapters(metrics: Exposition) -> tuple[str, str]:
    """Running and waiting adapters of the series with the latest time, which is its value."""
    newest = max(metrics.select("vllm:lora_requests_info"), key=lambda sample: sample.value)
    return newest.labels["running_lora_adapters"], newest.labels["waiting_lora_adapters"]


@undisturbed
async def test_an_adapter_without_a_slot_is_deferred_and_blocks_nobody(
    main: Client, fresh_prompt: FreshPrompt
) -> None:
    long = await LongRequests.to_begin(main)
    async with AsyncExitStack() as streams, asyncio.TaskGroup() as group:
        for _ in range(3):
            body = main.completion(fresh_prompt(40), max_tokens=1900, model="sql")
            running = await streams.enter_async_context(main.stream(COMPLETIONS, body))
            await anext(running)
        chats = [
            group.create_task(main.complete(fresh_prompt(40), max_tokens=2, model="chat"))
            for _ in range(3)
        ]
        scrape = await long.in_flight_once(3, 3)
        assert waiting_by_reason(scrape) == (0, 3)
        assert newest_adapters(scrape) == ("sql", "sql")

        await main.complete(fresh_prompt(40), max_tokens=2)
        done = [chat for chat in chats if chat.done()]
        assert in_flight(await long.metrics()) == (3, 3)
        assert not done
        await streams.aclose()
    assert {chat.result()["model"] for chat in chats} == {"chat"}

    after = await main.idle_metrics()
    assert waiting_by_reason(after) == (0, 0)
    assert newest_adapters(after) == ("", "")
    kept = {s.labels["running_lora_adapters"] for s in after.select("vllm:lora_requests_info")}
    assert kept == {"", "sql", "chat"}
    limits = {s.labels["max_lora"] for s in after.select("vllm:lora_requests_info")}
    assert limits == {"1"}


@pytest.fixture
async def loaded(limited: Client, folders: servers.Folders) -> AsyncIterator[str]:
    """The name of an adapter that was loaded at run time; it is gone afterwards."""
    body = {"lora_name": "dyn", "lora_path": folders.adapter("sql")}
    answer = await limited.post(LOAD, body)
    assert answer.status == 200
    assert answer.text == "Success: LoRA adapter 'dyn' added successfully."
    yield "dyn"
    answer = await limited.post(UNLOAD, {"lora_name": "dyn"})
    assert answer.status == 200
    assert answer.text == "Success: LoRA adapter 'dyn' removed successfully."


async def models(client: Client) -> list[tuple[str, str, str | None]]:
    listed = (await client.get("/v1/models")).json["data"]
    return [(model["id"], model["root"], model["parent"]) for model in listed]


async def test_an_adapter_loaded_at_run_time_is_listed_and_serves(
    limited: Client, folders: servers.Folders, loaded: str
) -> None:
    assert await models(limited) == [
        ("tiny", str(folders.model), None),
        (loaded, folders.adapter("sql"), "tiny"),
    ]
    body = await limited.complete("a", max_tokens=1, model=loaded)
    assert body["model"] == loaded


async def test_an_adapter_cannot_be_loaded_twice(
    limited: Client, folders: servers.Folders, loaded: str
) -> None:
    body = {"lora_name": loaded, "lora_path": folders.adapter("sql")}
    again = await limited.post(LOAD, body)
    assert again.status == 400
    assert again.json == {
        "error": {
            "message": "The lora adapter 'dyn' has already been loaded. "
            "If you want to load the adapter in place, set 'load_inplace' to True.",
            "type": "InvalidUserInput",
            "param": None,
            "code": 400,
        }
    }
    in_place = await limited.post(LOAD, {**body, "load_inplace": True})
    assert in_place.status == 200


async def test_an_adapter_that_is_not_there_cannot_be_loaded(limited: Client) -> None:
    answer = await limited.post(LOAD, {"lora_name": "bad", "lora_path": "/nonexistent"})
    assert answer.status == 404
    assert answer.json == {
        "error": {
            "message": "Loading lora bad failed: No adapter found for /nonexistent",
            "type": "NotFoundError",
            "param": None,
            "code": 404,
        }
    }


async def test_an_unloaded_adapter_is_unknown(limited: Client, folders: servers.Folders) -> None:
    body = {"lora_name": "brief", "lora_path": folders.adapter("chat")}
    assert (await limited.post(LOAD, body)).status == 200
    assert (await limited.post(UNLOAD, {"lora_name": "brief"})).status == 200
    assert [name for name, _, _ in await models(limited)] == ["tiny"]
    answer = await limited.post(COMPLETIONS, {"model": "brief", "prompt": "a"})
    assert answer.status == 404
    assert answer.json["error"]["type"] == "NotFoundError"


async def test_unloading_what_was_never_loaded_is_refused(limited: Client) -> None:
    answer = await limited.post(UNLOAD, {"lora_name": "never"})
    assert answer.status == 404
    assert answer.json["error"]["type"] == "NotFoundError"
