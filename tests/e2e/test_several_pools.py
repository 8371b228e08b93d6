"""Two pools behind one router and one Envoy: the model decides, in both body modes, and also where
Envoy knows neither pool nor endpoint.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway_stack.engines import Engine
from gateway_stack.running import running_stack
from gateway_stack.stack import Stack, leases_returned
from headway_core.outcomes import Reason
from headway_router.envoy import BodyMode

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


MODES = {
    "buffered": {"body_mode": BodyMode.BUFFERED},
    "full duplex": {"body_mode": BodyMode.FULL_DUPLEX_STREAMED},
    "no pools in Envoy": {"has_pools": False},
}


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=MODES.values(), ids=MODES)
async def two_pools(
    request: pytest.FixtureRequest,
    chat_engines: list[Engine],
    code_engines: list[Engine],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("two-pools")
    engines = [*chat_engines, *code_engines]
    shows = {"chat": {"observability": {"responseHeader": True}}}
    async with running_stack(folder, engines, policies=shows, **request.param) as stack:
        yield stack


@pytest.mark.parametrize("model", ["chat", "code"])
async def test_a_request_reaches_a_pool_by_its_model(two_pools: Stack, model: str) -> None:
    before = await two_pools.requests_by_engine()
    answers = [await two_pools.complete(f"{n} for {model}", model=model) for n in range(5)]
    after = await two_pools.requests_by_engine()
    served = {name: after[name] - before[name] for name in after if after[name] > before[name]}
    assert [answer.json()["model"] for answer in answers] == 5 * [model]
    assert sum(served.values()) == 5
    assert all(name.startswith(model) for name in served)
    await leases_returned(two_pools)


async def test_a_pool_shows_its_decisions_if_its_policy_says_so(two_pools: Stack) -> None:
    shown = (await two_pools.complete("show", model="chat")).headers["x-headway-decision"]
    reason, endpoint, pool = shown.split("; ")
    assert reason in set(Reason) and pool == "pool=default/chat"
    addresses = {engine.address for engine in two_pools.engines if engine.model == "chat"}
    assert endpoint.removeprefix("endpoint=") in addresses
    spoofed = {"x-headway-decision": "mine"}
    silent = await two_pools.complete("show", model="code", headers=spoofed)
    assert "x-headway-decision" not in silent.headers


async def test_a_long_body_arrives_whole(two_pools: Stack) -> None:
    """7,600 bytes are 1,900 of the engine's tokens, and several messages where bodies stream."""
    answer = await two_pools.complete("word" * 1900, model="code")
    assert answer.status == 200
    assert answer.json()["usage"]["prompt_tokens"] == 1900


async def test_a_stream_passes(two_pools: Stack) -> None:
    async with two_pools.streaming("hi", model="code", max_tokens=40) as response:
        text = await response.read()
    assert text.endswith(b"data: [DONE]\n\n")
    assert b'"completion_tokens":40' in text


async def test_a_client_cannot_name_another_pool(two_pools: Stack) -> None:
    answer = await two_pools.complete(
        "hi",
        model="chat",
        headers={
            "x-headway-pool": "default/code",
            "x-gateway-destination-endpoint": "127.0.0.1:1",
        },
    )
    assert answer.status == 200
    assert answer.json()["model"] == "chat"


async def test_the_models_of_all_pools_are_listed(two_pools: Stack) -> None:
    answer = await two_pools.get("/v1/models")
    assert sorted(model["id"] for model in answer.json()["data"]) == ["chat", "code"]


async def test_a_request_without_a_model_is_refused(two_pools: Stack) -> None:
    url = f"{two_pools.envoy.url}/v1/completions"
    async with two_pools.session.post(url, json={"prompt": "hi"}) as response:
        assert response.status in (400, 404)
    await leases_returned(two_pools)
