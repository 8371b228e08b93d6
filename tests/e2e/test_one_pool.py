"""One pool behind one router and a real Envoy: where requests go, and how responses pass."""

import asyncio
from collections import Counter

import pytest

from engine_contract.undisturbed import presume, undisturbed
from gateway_stack.stack import (
    GATEWAY_BODY_LIMIT,
    ROUTER_BODY_LIMIT,
    Stack,
    eventually,
    leases_returned,
    open_streams,
)

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


def long_prompt(about: str) -> str:
    """Some 2,500 bytes: two full blocks of the router's, and 19 of the engine's."""
    return f"a prompt about {about}, long enough to have blocks of its own; " * 40


async def test_envoy_has_nothing_to_warn_of(one_pool: Stack) -> None:
    assert (await one_pool.get("/v1/models")).status == 200
    assert one_pool.envoy.child.log.read_text() == ""


async def test_the_endpoint_that_is_charged_is_the_one_that_serves(one_pool: Stack) -> None:
    await one_pool.fault("hang")
    before = await one_pool.requests_by_engine()
    async with asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(one_pool.complete(long_prompt("charges")))

        async def is_placed() -> bool:
            return await one_pool.leases() == 1

        await eventually(is_placed, "the request is placed")
        (page,) = await one_pool.debug()
        await one_pool.fault("heal")
    endpoints = page["pools"]["default/chat"]["endpoints"]
    charged = [endpoint["endpoint_id"] for endpoint in endpoints if endpoint["leases"]]
    after = await one_pool.requests_by_engine()
    served = [e.address for e in one_pool.engines if after[e.child.name] > before[e.child.name]]
    assert answer.result().status == 200
    assert served == charged


async def test_a_prompt_goes_where_its_prefix_is_cached(one_pool: Stack) -> None:
    before = await one_pool.requests_by_engine()
    cached = []
    for turn in range(6):
        answer = await one_pool.complete(long_prompt("prefixes") + f"turn {turn}")
        cached.append(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])
    after = await one_pool.requests_by_engine()
    served = Counter(after) - Counter(before)
    assert list(served.values()) == [6]
    assert cached[0] == 0 and min(cached[1:]) > 500


@undisturbed
async def test_tokens_reach_the_client_while_the_engine_still_generates(one_pool: Stack) -> None:
    async with one_pool.streaming("tell me a story", max_tokens=1500) as response:
        first = await response.content.readuntil(b"\n\n")
        await one_pool.fault("hang")
        still_there, leases = await one_pool.in_flight(), await one_pool.leases()
        await one_pool.fault("resume")
        rest = await response.read()
    presume(still_there == 1, "the stream had come to its end")
    assert first.startswith(b"data: {")
    assert leases == 1
    assert rest.endswith(b"data: [DONE]\n\n")
    assert b'"completion_tokens":1500' in rest
    await leases_returned(one_pool)


@undisturbed
async def test_the_first_token_of_every_stream_is_reported_once(one_pool: Stack) -> None:
    (router,) = one_pool.routers
    name = "headway_first_tokens_total"
    before = await one_pool.metric(router, name)

    async def all_reported() -> bool:
        return await one_pool.metric(router, name) >= before + 40

    matched = await one_pool.metric(router, name, outcome="matched")
    async with open_streams(one_pool, 40, "first tokens"):
        await eventually(all_reported, "40 first tokens are reported")
    assert await one_pool.metric(router, name, outcome="matched") == matched + 40
    assert await one_pool.metric(router, name) == before + 40


async def test_clients_cannot_choose_where_they_go(one_pool: Stack) -> None:
    """The same prompt stays where it is cached, whatever address the client asks for."""
    prompt = long_prompt("spoofing")
    await one_pool.complete(prompt)
    before = await one_pool.requests_by_engine()
    for engine in one_pool.engines:
        spoofed = {
            "x-gateway-destination-endpoint": engine.address,
            "x-gateway-destination-endpoint-subset": engine.address,
            "x-headway-pool": "default/elsewhere",
        }
        answer = await one_pool.complete(prompt, headers=spoofed)
        assert answer.status == 200
    served = Counter(await one_pool.requests_by_engine()) - Counter(before)
    assert list(served.values()) == [len(one_pool.engines)]


async def test_a_request_id_of_a_client_is_replaced(one_pool: Stack) -> None:
    """Else two clients could end each other's leases."""
    answers = [await one_pool.complete("hi", headers={"x-request-id": "mine"}) for _ in range(2)]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert "mine" not in ids and len(set(ids)) == 2
    assert [answer.json()["id"] for answer in answers] == [f"cmpl-{one}" for one in ids]


async def test_the_router_lists_the_models(one_pool: Stack) -> None:
    before = await one_pool.requests_by_engine()
    answer = await one_pool.get("/v1/models")
    assert answer.status == 200
    assert [model["id"] for model in answer.json()["data"]] == ["chat"]
    assert await one_pool.requests_by_engine() == before


async def test_an_unknown_model_is_not_found(one_pool: Stack) -> None:
    answer = await one_pool.complete("hi", model="nope")
    assert answer.status == 404
    assert answer.json()["error"]["param"] == "model"


@pytest.mark.parametrize(
    "body_bytes",
    [
        pytest.param(ROUTER_BODY_LIMIT + 1000, id="above the router's limit"),
        pytest.param(GATEWAY_BODY_LIMIT + 1000, id="above Envoy's buffer"),
    ],
)
async def test_a_body_that_is_too_large_is_refused(one_pool: Stack, body_bytes: int) -> None:
    answer = await one_pool.complete("x" * body_bytes)
    assert answer.status == 413
    await leases_returned(one_pool)


async def test_a_body_that_is_no_request_never_reaches_an_engine(one_pool: Stack) -> None:
    url = f"{one_pool.envoy.url}/v1/completions"
    headers = {"content-type": "application/json"}
    async with one_pool.session.post(url, data=b'{"model": ', headers=headers) as response:
        assert response.status == 400
    await leases_returned(one_pool)
