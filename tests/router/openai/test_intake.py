"""From a body to what the core needs, and from a bad body to a clear refusal."""

import orjson
import pytest

from edge.harness import Edge, a_pool
from headway_core.facts import InferenceRequest, Slo
from headway_router.errors import RejectReason, RequestRejected
from headway_router.openai.head import read_head
from headway_router.openai.intake import Accepted, Intake

CHAT = "/v1/chat/completions"
WORDS = "twelve bytes" * 1000


@pytest.fixture
def edge() -> Edge:
    return Edge(a_pool(aliases=["alias"], adapters=["sql"]), max_body_bytes=100_000)


@pytest.fixture
def intake(edge: Edge) -> Intake:
    return edge.intake


def read(intake: Intake, body: object, path: str = CHAT, **headers: str) -> Accepted:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    sent = {":path": path, "content-type": "application/json"} | headers
    head = read_head(sent, intake.max_body_bytes)
    return intake.with_body("r", head, None, raw)


def request(intake: Intake, body: object, path: str = CHAT, **headers: str) -> InferenceRequest:
    return read(intake, body, path, **headers).request


def chat(**fields: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": WORDS}]} | fields


def test_a_prompt_becomes_tokens_and_blocks(intake: Intake) -> None:
    placed = request(intake, chat(max_tokens=7))
    assert placed.requested_model == "m"
    assert placed.prompt_tokens == pytest.approx(len(WORDS) / 4, abs=10)
    assert len(placed.blocks) == len(WORDS) // 1024
    assert placed.block_tokens == 256
    assert placed.max_output_tokens == 7


def test_tokens_per_byte_are_learned_per_model(edge: Edge) -> None:
    before = request(edge.intake, chat()).prompt_tokens
    for _ in range(100):
        edge.ratios.learn("m", content_bytes=40_000, prompt_tokens=20_000)
    assert request(edge.intake, chat()).prompt_tokens == pytest.approx(2 * before, rel=0.02)
    assert request(edge.intake, chat(model="other")).prompt_tokens == pytest.approx(before, abs=2)


def test_an_alias_has_the_cache_of_its_model_and_an_adapter_has_its_own(intake: Intake) -> None:
    plain = request(intake, chat())
    alias = request(intake, chat(model="alias"))
    adapter = request(intake, chat(model="sql"))
    assert alias.blocks == plain.blocks
    assert adapter.blocks[0] != plain.blocks[0]
    assert (plain.adapter, alias.adapter, adapter.adapter) == (None, None, "sql")


def test_a_salt_keeps_caches_apart(intake: Intake) -> None:
    assert request(intake, chat(cache_salt="s")).blocks[0] != request(intake, chat()).blocks[0]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": WORDS}),
        ("/v1/completions", {"prompt": [WORDS]}),
        ("/v1/completions", {"prompt": list(range(3000))}),
        ("/v1/responses", {"input": WORDS}),
        ("/v1/responses", {"input": [{"role": "user", "content": WORDS}]}),
        ("/v1/embeddings", {"input": WORDS}),
        ("/v1/embeddings", {"messages": [{"role": "user", "content": WORDS}]}),
        ("/v1/messages", {"messages": [{"role": "user", "content": WORDS}], "max_tokens": 1}),
    ],
)
def test_every_known_path_gives_blocks(intake: Intake, path: str, body: dict[str, object]) -> None:
    placed = request(intake, {"model": "m"} | body, path)
    assert len(placed.blocks) == 11
    assert placed.prompt_tokens == pytest.approx(3000, abs=10)


@pytest.mark.parametrize(
    ("path", "body", "headers", "model"),
    [
        ("/v1/rerank", b'{"model": "m", "query": "q"}', {}, "m"),
        ("/tokenize", b'{"prompt": "no model"}', {}, ""),
        ("/tokenize", b'{"model": 7}', {}, ""),
        ("/v1/batch", b"[1, 2]", {}, ""),
        ("/v1/audio/transcriptions", b"--x\r\n\xff", {"content-type": "multipart/form-data"}, ""),
        ("/v1/anything", b"", {}, ""),
    ],
)
def test_other_paths_are_routed_by_load(
    intake: Intake, path: str, body: bytes, headers: dict[str, str], model: str
) -> None:
    placed = request(intake, body, path, **headers)
    assert placed.blocks == ()
    assert placed.requested_model == model


@pytest.mark.parametrize(
    ("path", "fields", "limit"),
    [
        (CHAT, {"max_tokens": 5}, 5),
        (CHAT, {"max_tokens": 5, "max_completion_tokens": 6}, 6),
        (CHAT, {"max_tokens": None}, None),
        (CHAT, {"max_tokens": 5.0}, 5),
        (CHAT, {"max_tokens": 0}, 0),
        (CHAT, {}, None),
        ("/v1/responses", {"input": "a", "max_output_tokens": 8}, 8),
        ("/v1/responses", {"input": "a", "max_tokens": 8}, None),
        ("/v1/completions", {"prompt": "a", "max_tokens": 9}, 9),
        ("/v1/messages", {"max_tokens": 10}, 10),
    ],
)
def test_the_limit_of_the_output_has_a_name_per_api(
    intake: Intake, path: str, fields: dict[str, object], limit: int | None
) -> None:
    assert request(intake, chat(**fields), path).max_output_tokens == limit


def test_the_clients_bytes_go_on_untouched(intake: Intake) -> None:
    assert read(intake, chat()).body is None


def test_a_body_is_written_anew_only_to_remove_something(intake: Intake) -> None:
    body = read(intake, chat(kv_transfer_params={"do_remote_prefill": True}, n=1)).body
    assert body is not None
    assert orjson.loads(body) == chat(n=1)


@pytest.mark.parametrize(
    "path", ["/v1/chat/completion%73", "/invocations", "/inference/v1/generate"]
)
def test_what_is_removed_is_removed_on_every_path(intake: Intake, path: str) -> None:
    body = read(intake, b'{"model": "m", "kv\\u005ftransfer_params": {}}', path).body
    assert body is not None and orjson.loads(body) == {"model": "m"}


@pytest.mark.parametrize(
    "raw",
    [
        '{"kv_transfer_params": {}}'.encode("utf-16"),
        '{"kv_transfer_params": {}}'.encode("utf-16-be"),
        b'\xef\xbb\xbf{"kv_transfer_params": {}}',
        b'{"kv_transfer_params": {}, "x": NaN}',
    ],
)
def test_what_only_an_engine_would_parse_is_not_let_through(intake: Intake, raw: bytes) -> None:
    with pytest.raises(RequestRejected) as refused:
        read(intake, raw, "/invocations")
    assert refused.value.reason is RejectReason.MALFORMED_JSON


DEEP_LIST = b'{"model":"m","messages":' + b"[" * 2000 + b"]" * 2000 + b"}"
DEEP_TOOLS = b'{"model":"m","messages":[],"tools":[' + b"[" * 500 + b"]" * 501 + b"}"
BAD_UTF8 = b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}'


@pytest.mark.parametrize(
    ("path", "body", "reason", "param"),
    [
        (CHAT, b"", "empty-body", None),
        (CHAT, b" \n", "empty-body", None),
        (CHAT, b"{", "malformed-json", None),
        (CHAT, b"not json", "malformed-json", None),
        (CHAT, BAD_UTF8, "malformed-json", None),
        (CHAT, b'{"model":"\\ud800"}', "malformed-json", None),
        (CHAT, DEEP_LIST, "malformed-json", None),
        (CHAT, DEEP_TOOLS, "malformed-json", None),
        (CHAT, b"[]", "wrong-type", "body"),
        (CHAT, b"null", "wrong-type", "body"),
        (CHAT, b'"text"', "wrong-type", "body"),
        (CHAT, {"messages": []}, "missing-field", "model"),
        (CHAT, {"model": None, "messages": []}, "missing-field", "model"),
        (CHAT, {"model": "", "messages": []}, "missing-field", "model"),
        (CHAT, {"model": 1, "messages": []}, "wrong-type", "model"),
        (CHAT, {"model": "m"}, "missing-field", "messages"),
        (CHAT, {"model": "m", "messages": "hi"}, "wrong-type", "messages"),
        (CHAT, {"model": "m", "messages": ["hi"]}, "wrong-type", "messages.0"),
        (CHAT, {"model": "m", "messages": [{}]}, "missing-field", "messages.0.role"),
        (CHAT, chat(messages=[{"role": 1}]), "wrong-type", "messages.0.role"),
        (CHAT, chat(messages=[{"role": "u", "content": 5}]), "wrong-type", "messages.0.content"),
        (
            CHAT,
            chat(messages=[{"role": "u", "content": [5]}]),
            "wrong-type",
            "messages.0.content.0",
        ),
        (
            CHAT,
            chat(messages=[{"role": "u", "content": [{"type": "text"}]}]),
            "missing-field",
            "messages.0.content.0.text",
        ),
        (
            CHAT,
            chat(messages=[{"role": "u", "content": [{"type": "text", "text": 1}]}]),
            "wrong-type",
            "messages.0.content.0.text",
        ),
        (CHAT, chat(tools={}), "wrong-type", "tools"),
        (CHAT, chat(cache_salt=1), "wrong-type", "cache_salt"),
        (CHAT, chat(max_tokens="5"), "wrong-type", "max_tokens"),
        (CHAT, chat(max_tokens=True), "wrong-type", "max_tokens"),
        (CHAT, chat(max_tokens=1.5), "wrong-type", "max_tokens"),
        (CHAT, b'{"model":"m","messages":[],"max_tokens":1e999}', "malformed-json", None),
        (CHAT, chat(max_tokens=-1), "wrong-type", "max_tokens"),
        ("/v1/completions", {"model": "m"}, "missing-field", "prompt"),
        ("/v1/completions", {"model": "m", "prompt": {}}, "wrong-type", "prompt"),
        ("/v1/completions", {"model": "m", "prompt": ["a", 1]}, "wrong-type", "prompt.1"),
        ("/v1/completions", {"model": "m", "prompt": [1, "a"]}, "wrong-type", "prompt.1"),
        ("/v1/completions", {"model": "m", "prompt": [1, -1]}, "wrong-type", "prompt.1"),
        ("/v1/completions", {"model": "m", "prompt": [1, 2**40]}, "wrong-type", "prompt.1"),
        ("/v1/completions", {"model": "m", "prompt": [[1], 2]}, "wrong-type", "prompt.1"),
        ("/v1/completions", {"model": "m", "prompt": [[1], [1.5]]}, "wrong-type", "prompt.1.0"),
        ("/v1/responses", {"model": "m"}, "missing-field", "input"),
        ("/v1/responses", {"model": "m", "input": 5}, "wrong-type", "input"),
        ("/v1/responses", {"model": "m", "input": [5]}, "wrong-type", "input.0"),
        (
            "/v1/responses",
            {"model": "m", "input": "a", "instructions": []},
            "wrong-type",
            "instructions",
        ),
        ("/v1/embeddings", {"model": "m"}, "missing-field", "input"),
        ("/v1/embeddings", {"model": "m", "input": True}, "wrong-type", "input"),
        ("/v1/messages", {"model": "m", "messages": [], "system": 1}, "wrong-type", "system"),
        (CHAT, b" " * 100_001, "body-too-large", None),
    ],
)
def test_bad_input_is_refused_by_name(
    intake: Intake, path: str, body: object, reason: str, param: str | None
) -> None:
    with pytest.raises(RequestRejected) as refused:
        read(intake, body, path)
    assert (refused.value.reason, refused.value.param) == (reason, param)
    assert param is None or param in refused.value.message


def test_headers_say_class_target_and_tenant(intake: Intake) -> None:
    placed = request(
        intake,
        chat(),
        **{
            "x-llm-d-inference-objective": "gold",
            "x-gateway-inference-objective": "the deprecated name loses",
            "x-llm-d-slo-ttft-ms": "250",
            "x-gateway-inference-fairness-id": "team-a",
        },
    )
    assert placed.slo_class == "gold"
    assert placed.slo == Slo(ttft_s=0.25)
    assert placed.tenant == "team-a"


def test_without_such_headers_the_policy_decides(intake: Intake) -> None:
    placed = request(intake, chat(), **{"x-llm-d-inference-objective": " "})
    assert (placed.slo_class, placed.slo, placed.tenant) == (None, None, None)


@pytest.mark.parametrize("header", ["x-llm-d-slo-ttft-ms", "x-slo-ttft-ms"])
@pytest.mark.parametrize(
    "value", ["fast", "0", "-1", "nan", "inf", "1e999", "1, 2", "0x10", "1_0", "1" * 5000]
)
def test_a_bad_target_is_refused_by_the_headers_name(header: str, value: str) -> None:
    with pytest.raises(RequestRejected) as refused:
        read_head({":path": CHAT, header: value}, 1000)
    assert refused.value.reason is RejectReason.BAD_HEADER
    assert refused.value.param == header and header in refused.value.message


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"content-encoding": "gzip"}, 415), ({"content-length": "1001"}, 413)],
)
def test_headers_can_rule_a_body_out(headers: dict[str, str], status: int) -> None:
    with pytest.raises(RequestRejected) as refused:
        read_head({":path": CHAT} | headers, 1000)
    assert refused.value.reason.status == status


@pytest.mark.parametrize(
    "headers",
    [
        {"content-encoding": "Identity"},
        {"content-length": "1000"},
        {"content-length": "many"},
        {"content-length": "9" * 5000},
    ],
)
def test_headers_that_say_nothing_bad_pass(headers: dict[str, str]) -> None:
    assert read_head({":path": CHAT} | headers, 1000).path == CHAT
