"""A router that follows its engine's KV events: what it predicts is what is cached."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from engine_contract.process import free_port
from gateway_stack.engines import Engine, start_engines
from gateway_stack.running import running_stack
from gateway_stack.stack import Stack, eventually
from headway_cli.demo.processes import Children
from headway_core.policy import PrefixAffinity

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

ENGINE_BLOCKS = 400
"""Of 16 tokens: a prompt of 30 kB fills it."""


def a_prompt(about: str, repeat: int = 60) -> str:
    return f"a prompt about {about}, long enough to have blocks of its own; " * repeat


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def exact(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    events = {
        "enable_kv_cache_events": True,
        "publisher": "zmq",
        "endpoint": f"tcp://127.0.0.1:{free_port()}",
        "replay_endpoint": f"tcp://127.0.0.1:{free_port()}",
        "topic": "kv@e2e",
    }
    folder = tmp_path_factory.mktemp("exact")
    async with Children(folder) as children:
        engines = await start_engines(
            children,
            "chat",
            1,
            kv_events_config=json.dumps(events),
            num_gpu_blocks_override=ENGINE_BLOCKS,
        )
        async with running_stack(
            folder, engines, prefix_mode=PrefixAffinity.PRECISE, drain_notice_s=0
        ) as stack:
            yield stack


async def caches(stack: Stack, knowledge: str) -> float:
    return await stack.metric(stack.routers[0], "headway_caches", knowledge=knowledge)


async def predicted_hit(stack: Stack, prompt: str) -> tuple[float, int]:
    """Predicted and true cached tokens of a prompt that is sent now."""
    (router,) = stack.routers
    name = "headway_predicted_hit_tokens_total"
    before = await stack.metric(router, name)
    answer = await stack.complete(prompt)
    cached: int = answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"]
    return await stack.metric(router, name) - before, cached


async def is_joined(stack: Stack) -> None:
    """Requests are sent until their blocks are joined."""

    async def is_exact() -> bool:
        await stack.complete(a_prompt(f"joining {await caches(stack, 'exact')}"))
        return await caches(stack, "exact") == 1

    await eventually(is_exact, "the engine's events join our requests")


async def push_out(stack: Stack, engine: Engine, about: str) -> None:
    """Others fill the engine's cache, past the router."""
    body = {"model": "chat", "prompt": a_prompt(about, repeat=80), "max_tokens": 1}
    for number in range(16):
        body["prompt"] = a_prompt(f"{about} {number}", repeat=80)
        url = f"http://{engine.address}/v1/completions"
        async with stack.session.post(url, json=body) as response:
            assert response.status == 200


async def test_what_others_push_out_of_the_cache_is_not_predicted_any_more(exact: Stack) -> None:
    (engine,), (router,) = exact.engines, exact.routers
    await is_joined(exact)
    prompt = a_prompt("eviction")
    await exact.complete(prompt)
    predicted, cached = await predicted_hit(exact, prompt)
    assert predicted > 0 and cached > 0
    await push_out(exact, engine, "others")

    async def is_told() -> bool:
        foreign = "headway_kv_stored_blocks_total"
        return await exact.metric(router, foreign, outcome="foreign") >= ENGINE_BLOCKS + 100

    await eventually(is_told, "the router has heard of the others' blocks")
    assert await predicted_hit(exact, prompt) == (0, 0)


async def test_lost_batches_are_replayed(exact: Stack) -> None:
    (engine,), (router,) = exact.engines, exact.routers
    await is_joined(exact)
    replayed = await exact.metric(router, "headway_kv_batches_total", outcome="replayed")
    prompt = a_prompt("losses")
    await exact.complete(prompt)
    await exact.fault("kv_events", lose=-1)
    await push_out(exact, engine, "unheard of")
    await exact.fault("heal")
    await exact.complete("a short one " * 20)

    async def is_caught_up() -> bool:
        now = await exact.metric(router, "headway_kv_batches_total", outcome="replayed")
        return now >= replayed + 8

    await eventually(is_caught_up, "the lost batches are replayed")
    assert await predicted_hit(exact, prompt) == (0, 0)
    assert await exact.metric(router, "headway_kv_resets_total", reason="gap") == 0
    assert await caches(exact, "exact") == 1


async def test_an_engine_without_events_is_shown_and_routed_by_the_mirror(
    chat_engines: list[Engine], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("mirror")
    async with running_stack(folder, chat_engines[:1], prefix_mode=PrefixAffinity.PRECISE) as stack:
        prompt = a_prompt("the mirror")
        await stack.complete(prompt)
        predicted, cached = await predicted_hit(stack, prompt)
        assert predicted > 0 and cached > 0
        assert await caches(stack, "unavailable") == 1
        assert await caches(stack, "exact") == 0
        (page,) = await stack.debug()
        reasons = [cache["unavailable"] for cache in page["caches"].values()]
        assert reasons == ["it publishes no KV events"]
