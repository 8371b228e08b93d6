"""What the server says of itself, and the routes of the development mode."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

DEVELOPMENT = {"VLLM_SERVER_DEV_MODE": "1"}
RUNTIME_LORA = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
COMPLETIONS = "/v1/completions"
RUNNING = 'vllm:num_requests_running{engine="0",model_name="tiny"}'
WAITING = 'vllm:num_requests_waiting{engine="0",model_name="tiny"}'

Launch = Callable[..., Coroutine[Any, Any, Any]]


def asked(**fields: Any) -> dict[str, Any]:
    return {"prompt": "the house", "max_tokens": 4, "ignore_eos": True, **fields}


async def test_an_engine_without_events_names_no_source(launch: Launch) -> None:
    engine = await launch()
    assert (await engine.get("/kv_event_sources")).json == {}


async def test_event_sources_show_the_effective_configuration(
    launch: Launch, tmp_path: Path
) -> None:
    flag = f'{{"enable_kv_cache_events": true, "endpoint": "ipc://{tmp_path}/kv"}}'
    engine = await launch(kv_events_config=flag)
    (source,) = (await engine.get("/kv_event_sources")).json.values()
    assert source["endpoint"] == f"ipc://{tmp_path}/kv"
    assert source["replay_endpoint"] is None
    assert (source["buffer_steps"], source["topic"]) == (10_000, "")


async def test_requests_to_a_paused_engine_wait_for_resume(launch: Launch) -> None:
    engine = await launch(DEVELOPMENT)
    assert (await engine.post("/pause")).json == {"status": "paused"}
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(engine.post(COMPLETIONS, asked()))
        await engine.until(WAITING, 1)
        assert (await engine.get("/is_paused")).json == {"is_paused": True}
        assert (await engine.post("/resume")).status == 200
    assert (await waiting).status == 200
    assert (await engine.get("/is_paused")).json == {"is_paused": False}


async def test_a_pause_aborts_what_runs_unless_told_to_keep_it(launch: Launch) -> None:
    for mode, reason in (("abort", "abort"), ("keep", "length")):
        engine = await launch(DEVELOPMENT)
        async with asyncio.TaskGroup() as tasks:
            await engine.control("/hang")
            answer = tasks.create_task(engine.post(COMPLETIONS, asked(max_tokens=200)))
            await engine.until(RUNNING, 1)
            await engine.post(f"/pause?mode={mode}")
            await engine.control("/resume")
        assert (await answer).json["choices"][0]["finish_reason"] == reason


async def test_a_held_request_can_be_given_up(launch: Launch) -> None:
    engine = await launch(DEVELOPMENT)
    await engine.post("/pause")
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(engine.post(COMPLETIONS, asked()))
        await engine.until(WAITING, 1)
        waiting.cancel()
    await engine.until(WAITING, 0)
    assert engine.server.driver.in_flight == 0


async def test_a_used_cache_is_not_reset(launch: Launch) -> None:
    engine = await launch(DEVELOPMENT, dilation=50.0)
    assert (await engine.post("/reset_prefix_cache")).json == {"success": True}
    async with engine.stream(COMPLETIONS, asked(max_tokens=1900)) as response:
        await response.content.readany()
        assert (await engine.post("/reset_prefix_cache")).json == {"success": False}


async def test_an_adapter_needs_lora_to_be_enabled(launch: Launch, tmp_path: Path) -> None:
    body = {"lora_name": "dyn", "lora_path": str(tmp_path)}
    without = await launch(RUNTIME_LORA)
    assert (await without.post("/v1/load_lora_adapter", body)).status == 400
    engine = await launch(RUNTIME_LORA, enable_lora=True)
    assert (await engine.post("/v1/load_lora_adapter", body)).status == 200
    assert (await engine.post(COMPLETIONS, asked(model="dyn"))).json["model"] == "dyn"


async def test_an_adapter_can_be_replaced_in_place_only_on_request(
    launch: Launch, tmp_path: Path
) -> None:
    engine = await launch(RUNTIME_LORA, enable_lora=True, lora_modules=["sql=/adapters/sql"])
    body = {"lora_name": "sql", "lora_path": str(tmp_path)}
    assert (await engine.post("/v1/load_lora_adapter", body)).status == 400
    replaced = await engine.post("/v1/load_lora_adapter", {**body, "load_inplace": True})
    assert replaced.status == 200
    models = (await engine.get("/v1/models")).json["data"]
    assert [(m["id"], m["root"]) for m in models] == [("tiny", "tiny"), ("sql", str(tmp_path))]


async def test_an_incomplete_or_unknown_adapter_is_explained(launch: Launch) -> None:
    engine = await launch(RUNTIME_LORA, enable_lora=True)
    incomplete = await engine.post("/v1/load_lora_adapter", {"lora_name": "dyn"})
    unknown = await engine.post("/v1/unload_lora_adapter", {"lora_name": "dyn"})
    assert incomplete.json["error"]["type"] == "InvalidUserInput"
    assert (unknown.status, unknown.json["error"]["type"]) == (404, "NotFoundError")


async def test_several_served_names_answer_as_the_first(launch: Launch) -> None:
    engine = await launch(served_model_name=["first", "second"])
    assert (await engine.post(COMPLETIONS, asked(model="second"))).json["model"] == "first"
    listed = (await engine.get("/v1/models")).json["data"]
    assert [model["id"] for model in listed] == ["first", "second"]


async def test_probes_are_not_counted_and_unknown_paths_share_a_name(launch: Launch) -> None:
    engine = await launch()
    for path in ("/health", "/nothing", "/v1/models"):
        await engine.get(path)
    text = (await engine.get("/metrics")).text
    counted = [line for line in text.splitlines() if line.startswith("http_requests_total")]
    assert counted == [
        'http_requests_total{handler="none",method="GET",status="4xx"} 1.0',
        'http_requests_total{handler="/v1/models",method="GET",status="2xx"} 1.0',
    ]
