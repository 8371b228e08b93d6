"""Every refusal: its status, and the type, parameter and code that clients branch on."""

from typing import Any

import pytest

from engine_contract.client import CHAT, COMPLETIONS, Client

MESSAGES = [{"role": "user", "content": "a"}]

RECORDED = [
    "unknown model",
    "bad json",
    "too long",
    "max_tokens too big",
    "neg temperature",
    "404",
    "chat render",
]


@pytest.mark.parametrize("name", RECORDED)
async def test_a_refusal_is_the_recorded_one_to_the_byte(
    main: Client, exchanges: dict[str, Any], name: str
) -> None:
    recorded = exchanges[name]
    if "raw_body" in recorded:
        answer = await main.call(recorded["method"], recorded["path"], recorded["raw_body"])
    elif "body" in recorded:
        answer = await main.post(recorded["path"], recorded["body"])
    else:
        answer = await main.get(recorded["path"])
    assert answer.status == recorded["status"]
    assert answer.json == recorded["response"]
    assert answer.headers.keys() == recorded["response_headers"].keys()
    assert answer.headers["content-type"] == "application/json"


def error(message: str, kind: str, param: str | None, code: int = 400) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        pytest.param(CHAT, {"model": "tiny"}, "body.messages", id="no messages"),
        pytest.param(CHAT, None, "body", id="null"),
        pytest.param(CHAT, [1], "body", id="an array"),
        pytest.param(COMPLETIONS, {"max_tokens": "x"}, "body.max_tokens", id="words for a number"),
        pytest.param(COMPLETIONS, {"priority": "x"}, "body.priority", id="words for a priority"),
        pytest.param(COMPLETIONS, {"kv_transfer_params": 7}, "body.kv_transfer_params", id="kv"),
    ],
)
async def test_a_wrong_type_names_the_field(main: Client, path: str, body: Any, param: str) -> None:
    if path == COMPLETIONS:
        body = {"model": "tiny", "prompt": "a", **body}
    answer = await main.post(path, body)
    assert answer.status == 400
    refusal = answer.json["error"]
    assert refusal["message"].startswith("1 validation error:\n  {'type': '")
    assert f"'loc': '{param}'" in refusal["message"]
    assert (refusal["type"], refusal["param"], refusal["code"]) == ("Bad Request", param, 400)


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        pytest.param(
            {"max_tokens": 0},
            "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)",
            "max_tokens",
            id="no tokens",
        ),
        pytest.param(
            {"prompt": ""},
            "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)",
            "prompt",
            id="empty prompt",
        ),
        pytest.param(
            {"stream_options": {"include_usage": True}},
            "Stream options can only be defined when `stream=True`. (parameter=stream_options)",
            "stream_options",
            id="stream options without a stream",
        ),
        pytest.param(
            {"top_p": 0},
            "top_p must be in (0, 1], got 0.0. (parameter=top_p, value=0.0)",
            "top_p",
            id="top_p of zero",
        ),
        pytest.param({"n": 0}, "n must be at least 1, got 0.", None, id="no choice"),
        pytest.param(
            {"cache_salt": ""},
            "Parameter 'cache_salt' must be a non-empty string if provided. (parameter=cache_salt)",
            "cache_salt",
            id="empty salt",
        ),
        pytest.param(
            {"prompt": [5, 900]}, "Token id 900 is out of vocabulary", None, id="unknown token"
        ),
        pytest.param(
            {"prompt": [5] * 2048, "max_tokens": 1},
            "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)",
            "max_tokens",
            id="a prompt that fills the context",
        ),
    ],
)
async def test_a_wrong_value_is_explained(
    main: Client, body: dict[str, Any], message: str, param: str | None
) -> None:
    answer = await main.post(COMPLETIONS, {"model": "tiny", "prompt": "a", **body})
    assert answer.status == 400
    assert answer.json == error(message, "BadRequestError", param)


async def test_a_conversation_needs_a_message(main: Client) -> None:
    answer = await main.post(CHAT, {"model": "tiny", "messages": []})
    message = "Cannot apply chat template to an empty conversation. Provide at least one message."
    assert answer.status == 400
    assert answer.json == error(message, "BadRequestError", None)


async def test_a_body_must_be_declared_as_json(main: Client) -> None:
    answer = await main.call("POST", CHAT, "{}", {"content-type": "text/plain"})
    message = "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed"
    assert answer.status == 400
    assert answer.json == error(message, "Bad Request", None)


@pytest.mark.parametrize(("method", "path"), [("GET", CHAT), ("POST", "/health")])
async def test_a_route_refuses_the_other_method(main: Client, method: str, path: str) -> None:
    answer = await main.call(method, path)
    assert (answer.status, answer.json) == (405, {"detail": "Method Not Allowed"})


@pytest.mark.parametrize("path", ["/tokenize", "/v1/completions"])
async def test_an_unknown_model_is_refused_on_every_route_that_names_one(
    main: Client, path: str
) -> None:
    answer = await main.post(path, {"model": "nope", "prompt": "a"})
    message = "The model `nope` does not exist. Valid aliases: tiny."
    assert answer.status == 404
    assert answer.json == error(message, "NotFoundError", "model", 404)


async def test_a_request_without_a_model_goes_to_the_base_model(main: Client) -> None:
    answer = await main.post(CHAT, {"messages": MESSAGES, "max_tokens": 1})
    assert (answer.status, answer.json["model"]) == (200, "tiny")


@pytest.mark.parametrize("path", ["/reset_prefix_cache", "/v1/load_lora_adapter"])
async def test_dangerous_routes_do_not_exist_unless_asked_for(main: Client, path: str) -> None:
    answer = await main.post(path, {})
    assert (answer.status, answer.json) == (404, {"detail": "Not Found"})
