"""Which id an answer carries, and whether a header repeats it."""

import pytest

from engine_contract.client import CHAT, COMPLETIONS, DONE, Client

ID_HEADER = "x-request-id"
BODIES = {
    CHAT: {"model": "tiny", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1},
    COMPLETIONS: {"model": "tiny", "prompt": "a", "max_tokens": 1},
}
PREFIXES = {CHAT: "chatcmpl-", COMPLETIONS: "cmpl-"}

paths = pytest.mark.parametrize("path", [CHAT, COMPLETIONS])


@paths
async def test_the_id_header_of_the_client_becomes_the_id_of_the_answer(
    main: Client, path: str
) -> None:
    answer = await main.post(path, BODIES[path], {ID_HEADER: "mine-1"})
    assert answer.json["id"] == PREFIXES[path] + "mine-1"


@paths
async def test_the_id_header_becomes_the_id_of_every_chunk(main: Client, path: str) -> None:
    async with main.stream(path, BODIES[path], {ID_HEADER: "mine-2"}) as stream:
        events = await stream.rest()
    assert {event["id"] for event in events if event != DONE} == {PREFIXES[path] + "mine-2"}
    assert stream.headers[ID_HEADER] == "mine-2"


@paths
async def test_the_id_header_beats_the_id_in_the_body(main: Client, path: str) -> None:
    body = BODIES[path] | {"request_id": "body-3"}
    answer = await main.post(path, body, {ID_HEADER: "header-3"})
    assert answer.json["id"] == PREFIXES[path] + "header-3"


@paths
async def test_the_id_in_the_body_counts_where_there_is_no_header(main: Client, path: str) -> None:
    answer = await main.post(path, BODIES[path] | {"request_id": "body-4"})
    assert answer.json["id"] == PREFIXES[path] + "body-4"


@paths
async def test_an_id_that_nobody_gave_is_sixteen_hex_digits_and_new_each_time(
    main: Client, path: str
) -> None:
    ids = [(await main.post(path, BODIES[path])).json["id"] for _ in range(2)]
    for given in ids:
        digits = given.removeprefix(PREFIXES[path])
        assert len(digits) == 16 and int(digits, 16) >= 0
    assert ids[0] != ids[1]


async def test_the_echo_repeats_the_id_of_the_client_on_every_route(main: Client) -> None:
    for answer in [
        await main.call("GET", "/health", headers={ID_HEADER: "mine-5"}),
        await main.call("GET", "/v1/models", headers={ID_HEADER: "mine-5"}),
        await main.post(COMPLETIONS, {"model": "nope"}, {ID_HEADER: "mine-5"}),
    ]:
        assert answer.headers[ID_HEADER] == "mine-5"


async def test_the_echo_invents_an_id_which_is_not_the_one_of_the_answer(main: Client) -> None:
    answer = await main.post(COMPLETIONS, BODIES[COMPLETIONS])
    echoed = answer.headers[ID_HEADER]
    assert len(echoed) == 32 and int(echoed, 16) >= 0
    assert echoed not in answer.json["id"]


async def test_nothing_is_echoed_without_the_flag(limited: Client) -> None:
    answer = await limited.post(COMPLETIONS, BODIES[COMPLETIONS], {ID_HEADER: "mine-6"})
    assert answer.json["id"] == "cmpl-mine-6"
    assert ID_HEADER not in answer.headers
