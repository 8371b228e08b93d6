"""A session's answers per body mode, and what it reports however its stream ends."""

import orjson
import pytest

from edge.harness import Edge, a_pool
from headway_core.events import Cancelled, Failed, Finished, FirstToken
from headway_core.outcomes import Candidate, Decision, Held, Placed, Reason, Shed, ShedReason
from headway_router.errors import RejectReason
from headway_router.extproc.flows import CHUNK_BYTES
from headway_router.extproc.messages import (
    Abandoned,
    BodyMode,
    Continue,
    Effect,
    Immediate,
    Message,
    Part,
    Place,
    ProtocolConfig,
    ReplaceBody,
    Reply,
    Report,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    Route,
    StreamedChunk,
    Target,
)
from headway_router.extproc.session import Session, SessionOptions

CHAT = {":method": "POST", ":path": "/v1/chat/completions", "x-request-id": "r"}
BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hello"}]}'
HALF, REST = BODY[:20], BODY[20:]
SPOOFED = b'{"model": "m", "messages": [], "session_id": "mine"}'
CLEAN = b'{"model":"m","messages":[]}'

HEADERS = RequestHeaders(CHAT)
HEADERS_PASS = Continue(Part.REQUEST_HEADERS)
BODY_PASSES = Continue(Part.REQUEST_BODY)
TRAILERS_PASS = Continue(Part.REQUEST_TRAILERS)
NOTHING: list[Reply | Effect] = []

FULL = ProtocolConfig()
BUFFERED = ProtocolConfig(request_body_mode=BodyMode.BUFFERED)
PARTIAL = ProtocolConfig(request_body_mode=BodyMode.BUFFERED_PARTIAL)
STREAMED = ProtocolConfig(request_body_mode=BodyMode.STREAMED)
EARLY = ProtocolConfig(request_body_mode=BodyMode.STREAMED, sends_body_early=True)
NO_BODY = ProtocolConfig(request_body_mode=BodyMode.NONE)


def a_session(
    config: ProtocolConfig, *, max_body_bytes: int = 10**6, single: bool = False
) -> Session:
    edge = Edge(a_pool(aliases=["alias"], adapters=["sql"]), max_body_bytes=max_body_bytes)
    return Session(edge.intake, SessionOptions(single_destination=single), config)


def a_decision() -> Decision:
    candidate = Candidate("10.0.0.1:8000", {}, 0.0, 0, None)
    return Decision("default/m", "10.0.0.1:8000", (candidate,), Reason.AFFINE, "")


def placed(
    request_id: str = "r", *, fallback: str | None = None, vllm: int | None = None
) -> Placed:
    return Placed(request_id, a_decision(), (), fallback_id=fallback, vllm_priority=vllm)


def route(part: Part, *, body: bytes | None = None, content_length: int | None = None) -> Route:
    return Route(part, Target("10.0.0.1:8000", "default/m"), "r", body, content_length)


def run(session: Session, messages: list[Message]) -> list[list[Reply | Effect]]:
    """What each message is answered with; a decision is made as soon as it is asked for."""
    answers = []
    for message in messages:
        step = session.receive(message)
        match step:
            case [*before, Place()]:
                answers.append([*before, *session.resume(placed())])
            case _:
                answers.append(step)
    return answers


TO_BODY = route(Part.REQUEST_BODY)
TO_HEADERS = route(Part.REQUEST_HEADERS)


@pytest.mark.parametrize(
    ("config", "messages", "answers"),
    [
        pytest.param(
            BUFFERED,
            [HEADERS, RequestBody(BODY)],
            [[HEADERS_PASS], [TO_BODY]],
            id="BUFFERED",
        ),
        pytest.param(
            BUFFERED,
            [HEADERS, RequestBody(SPOOFED)],
            [[HEADERS_PASS], [route(Part.REQUEST_BODY, body=CLEAN, content_length=len(CLEAN))]],
            id="BUFFERED, a changed body has its new length",
        ),
        pytest.param(
            BUFFERED,
            [HEADERS, RequestBody(BODY, end_of_stream=False), RequestTrailers()],
            [[HEADERS_PASS], [TO_BODY], [TRAILERS_PASS]],
            id="BUFFERED, trailers come after the decision",
        ),
        pytest.param(
            PARTIAL,
            [HEADERS, RequestBody(BODY)],
            [[HEADERS_PASS], [TO_BODY]],
            id="BUFFERED_PARTIAL",
        ),
        pytest.param(
            FULL,
            [HEADERS, RequestBody(BODY)],
            [NOTHING, [TO_HEADERS, StreamedChunk(Part.REQUEST_BODY, BODY, True)]],
            id="FULL_DUPLEX_STREAMED holds the headers' answer to the end",
        ),
        pytest.param(
            FULL,
            [HEADERS, RequestBody(HALF, end_of_stream=False), RequestBody(REST)],
            [
                NOTHING,
                NOTHING,
                [
                    TO_HEADERS,
                    StreamedChunk(Part.REQUEST_BODY, HALF, False),
                    StreamedChunk(Part.REQUEST_BODY, REST, True),
                ],
            ],
            id="FULL_DUPLEX_STREAMED sends the same chunks back",
        ),
        pytest.param(
            FULL,
            [HEADERS, RequestBody(BODY, end_of_stream=False), RequestTrailers()],
            [
                NOTHING,
                NOTHING,
                [TO_HEADERS, StreamedChunk(Part.REQUEST_BODY, BODY, False), TRAILERS_PASS],
            ],
            id="FULL_DUPLEX_STREAMED with trailers ends with them",
        ),
        pytest.param(
            FULL,
            [HEADERS, RequestBody(SPOOFED[:9], end_of_stream=False), RequestBody(SPOOFED[9:])],
            [
                NOTHING,
                NOTHING,
                [
                    route(Part.REQUEST_HEADERS, content_length=len(CLEAN)),
                    StreamedChunk(Part.REQUEST_BODY, CLEAN, True),
                ],
            ],
            id="FULL_DUPLEX_STREAMED, a changed body",
        ),
        pytest.param(
            STREAMED,
            [HEADERS, RequestBody(BODY)],
            [[HEADERS_PASS], [TO_BODY]],
            id="STREAMED, one chunk",
        ),
        pytest.param(
            STREAMED,
            [HEADERS, RequestBody(HALF, end_of_stream=False), RequestBody(REST)],
            [[HEADERS_PASS], [ReplaceBody(b"")], [route(Part.REQUEST_BODY, body=BODY)]],
            id="STREAMED, nothing goes on before all of it was read",
        ),
        pytest.param(
            EARLY,
            [HEADERS, RequestBody(HALF, end_of_stream=False), RequestBody(REST)],
            [NOTHING, NOTHING, [TO_HEADERS, BODY_PASSES, BODY_PASSES]],
            id="STREAMED, sent early: one answer per chunk",
        ),
        pytest.param(
            EARLY,
            [HEADERS, RequestBody(SPOOFED[:9], end_of_stream=False), RequestBody(SPOOFED[9:])],
            [
                NOTHING,
                NOTHING,
                [
                    route(Part.REQUEST_HEADERS, content_length=len(CLEAN)),
                    ReplaceBody(CLEAN),
                    ReplaceBody(b""),
                ],
            ],
            id="STREAMED, sent early: a changed body",
        ),
        pytest.param(
            EARLY,
            [HEADERS, RequestBody(BODY, end_of_stream=False), RequestTrailers()],
            [NOTHING, NOTHING, [TO_HEADERS, BODY_PASSES, TRAILERS_PASS]],
            id="STREAMED, sent early, with trailers",
        ),
        pytest.param(NO_BODY, [HEADERS], [[TO_HEADERS]], id="NONE decides on the headers"),
    ],
)
def test_each_body_mode_has_its_sequence(
    config: ProtocolConfig, messages: list[Message], answers: list[list[Reply | Effect]]
) -> None:
    assert run(a_session(config), messages) == answers


@pytest.mark.parametrize("config", [BUFFERED, PARTIAL, FULL, STREAMED, EARLY, NO_BODY])
def test_a_request_without_a_body_is_answered_at_once(config: ProtocolConfig) -> None:
    get = RequestHeaders({":method": "GET", ":path": "/health"}, end_of_stream=True)
    [[reply]] = run(a_session(config), [get])
    assert isinstance(reply, Route) and reply.part is Part.REQUEST_HEADERS


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 17])
def test_full_duplex_chunks_are_small_enough_for_every_gateway(size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    session = a_session(FULL)
    session.receive(RequestHeaders({":path": "/other", "content-type": "image/png"}))
    session.receive(RequestBody(content[:size]))
    _, *chunks = session.resume(placed())
    sent = [c for c in chunks if isinstance(c, StreamedChunk)]
    assert b"".join(c.body for c in sent) == content[:size]
    assert all(len(c.body) <= CHUNK_BYTES for c in sent)
    assert [c.end_of_stream for c in sent] == [False] * (len(sent) - 1) + [True]


def test_trailers_without_a_body_bring_no_chunk() -> None:
    session = a_session(FULL)
    session.receive(RequestHeaders({":path": "/other"}))
    [place] = session.receive(RequestTrailers())
    assert isinstance(place, Place)
    assert [type(r) for r in session.resume(placed())] == [Route, Continue]


@pytest.mark.parametrize("config", [BUFFERED, STREAMED])
def test_trailers_that_come_too_late_for_a_destination_are_refused(config: ProtocolConfig) -> None:
    session = a_session(config)
    session.receive(HEADERS)
    [refusal] = session.receive(RequestTrailers())
    assert isinstance(refusal, Immediate) and refusal.status == 501


def test_a_body_cut_by_the_gateways_buffer_is_too_large_and_not_malformed() -> None:
    session = a_session(PARTIAL)
    session.receive(HEADERS)
    [refusal] = session.receive(RequestBody(HALF, end_of_stream=False))
    assert isinstance(refusal, Immediate) and refusal.status == 413


@pytest.mark.parametrize("config", [FULL, STREAMED, EARLY])
def test_a_body_that_grows_too_large_is_refused_while_it_grows(config: ProtocolConfig) -> None:
    session = a_session(config, max_body_bytes=100)
    session.receive(HEADERS)
    session.receive(RequestBody(b" " * 60, end_of_stream=False))
    [refusal] = session.receive(RequestBody(b" " * 60, end_of_stream=False))
    assert isinstance(refusal, Immediate) and refusal.status == 413
    assert refusal.rejected is RejectReason.BODY_TOO_LARGE


@pytest.mark.parametrize(
    ("single", "destination"), [(False, "10.0.0.1:8000,10.0.0.2:8000"), (True, "10.0.0.1:8000")]
)
def test_a_fallback_is_named_where_lists_are_understood(single: bool, destination: str) -> None:
    session = a_session(BUFFERED, single=single)
    run(session, [HEADERS])
    session.receive(RequestBody(BODY))
    [reply] = session.resume(placed(fallback="10.0.0.2:8000", vllm=-3))
    assert isinstance(reply, Route)
    assert reply.target == Target(destination, "default/m", -3)


def test_the_id_is_the_metadatas_then_the_headers_then_our_own() -> None:
    edge = Edge()
    ids = []
    for metadata, headers in [("a", CHAT), (None, CHAT), (None, {":path": CHAT[":path"]})]:
        session = Session(edge.intake, SessionOptions(), BUFFERED, metadata)
        session.receive(RequestHeaders(headers))
        [place] = session.receive(RequestBody(BODY))
        assert isinstance(place, Place)
        ids.append(place.request.request_id)
    assert ids[:2] == ["a", "r"]
    assert len(ids[2]) == 32


def test_a_held_request_is_answered_when_it_is_settled() -> None:
    session = a_session(FULL)
    session.receive(HEADERS)
    session.receive(RequestBody(BODY))
    assert session.resume(Held("r2", 1.0, a_decision())) == []
    assert session.is_waiting
    assert session.receive(RequestTrailers()) == []
    answers = session.resume(placed("r2"))
    assert [type(a) for a in answers] == [Route, StreamedChunk, Continue]
    assert not session.is_waiting
    assert session.close() == [Report(Finished("r2"))]


@pytest.mark.parametrize(
    ("messages", "outcomes", "reported"),
    [
        pytest.param([], [], [Abandoned()], id="before the headers"),
        pytest.param([HEADERS], [], [Abandoned()], id="before the body"),
        pytest.param(
            [HEADERS, RequestBody(BODY)], [], [Report(Cancelled("r"))], id="before an outcome"
        ),
        pytest.param(
            [HEADERS, RequestBody(BODY)],
            [Held("r", 1.0, a_decision())],
            [Report(Cancelled("r"))],
            id="while held",
        ),
        pytest.param(
            [HEADERS, RequestBody(BODY)], [placed()], [Report(Finished("r"))], id="while placed"
        ),
        pytest.param(
            [HEADERS, RequestBody(BODY)],
            [Held("r", 1.0, a_decision()), placed()],
            [Report(Finished("r"))],
            id="placed after it was held",
        ),
        pytest.param(
            [HEADERS, RequestBody(BODY)], [Shed("r", ShedReason.QUEUE_FULL)], [], id="when shed"
        ),
        pytest.param([HEADERS, RequestBody(b"{")], [], [], id="when rejected"),
    ],
)
def test_the_end_of_a_stream_is_reported_once(
    messages: list[Message], outcomes: list[Held | Placed | Shed], reported: list[Effect]
) -> None:
    session = a_session(BUFFERED)
    for message in messages:
        session.receive(message)
    for outcome in outcomes:
        session.resume(outcome)
    assert session.close() == reported
    assert session.close() == []
    assert session.resume(placed()) == []


def routed(response_body_mode: BodyMode = BodyMode.FULL_DUPLEX_STREAMED) -> Session:
    config = ProtocolConfig(
        request_body_mode=BodyMode.BUFFERED, response_body_mode=response_body_mode
    )
    session = a_session(config)
    run(session, [HEADERS, RequestBody(BODY)])
    return session


FINISHED = Report(Finished("r"))
RESPONSE_PASSES = Continue(Part.RESPONSE_BODY)


@pytest.mark.parametrize(
    ("mode", "first", "last"),
    [
        (
            BodyMode.FULL_DUPLEX_STREAMED,
            StreamedChunk(Part.RESPONSE_BODY, b"data", False),
            StreamedChunk(Part.RESPONSE_BODY, b"", True),
        ),
        (BodyMode.STREAMED, RESPONSE_PASSES, RESPONSE_PASSES),
        (BodyMode.BUFFERED, RESPONSE_PASSES, RESPONSE_PASSES),
    ],
)
def test_a_response_passes_and_its_end_returns_the_lease(
    mode: BodyMode, first: Reply, last: Reply
) -> None:
    session = routed(mode)
    assert session.receive(ResponseHeaders(200)) == [Continue(Part.RESPONSE_HEADERS)]
    # The first bytes are the first token, unless they are all of the answer.
    told = [] if mode is BodyMode.BUFFERED else [Report(FirstToken("r"))]
    assert session.receive(ResponseBody(b"data")) == [*told, first]
    assert session.receive(ResponseBody(b"", end_of_stream=True)) == [last, FINISHED]
    assert session.close() == []


def test_a_response_can_end_with_its_trailers() -> None:
    session = routed()
    session.receive(ResponseBody(b"data"))
    trailers_pass = Continue(Part.RESPONSE_TRAILERS)
    assert session.receive(ResponseTrailers()) == [trailers_pass, FINISHED]
    assert session.close() == []


def test_a_response_can_end_with_its_headers() -> None:
    answers = routed().receive(ResponseHeaders(204, end_of_stream=True))
    assert answers == [Continue(Part.RESPONSE_HEADERS), FINISHED]


@pytest.mark.parametrize("status", [400, 503])
def test_an_engines_error_is_a_failure(status: int) -> None:
    session = routed()
    session.receive(ResponseHeaders(status))
    assert session.close() == [Report(Failed("r"))]


def test_messages_out_of_order_pass() -> None:
    session = routed()
    assert session.receive(HEADERS) == [HEADERS_PASS]
    assert session.receive(RequestBody(BODY)) == [BODY_PASSES]
    assert session.receive(RequestTrailers()) == [TRAILERS_PASS]


def test_a_body_without_headers_is_routed_by_what_it_says() -> None:
    session = a_session(BUFFERED)
    [place] = session.receive(RequestBody(BODY))
    assert isinstance(place, Place) and place.request.requested_model == "m"


@pytest.mark.parametrize(
    ("path", "shape_keys"),
    [("/v1/chat/completions", {"error"}), ("/v1/messages", {"type", "error"})],
)
@pytest.mark.parametrize(
    ("reason", "status", "llmd"),
    [
        (ShedReason.UNKNOWN_MODEL, 404, "rejected-no-endpoints"),
        (ShedReason.NO_ENDPOINTS, 503, "rejected-no-endpoints"),
        (ShedReason.EMPTY_SUBSET, 503, "rejected-no-endpoints"),
        (ShedReason.DEADLINE, 429, "rejected-saturated"),
        (ShedReason.QUEUE_FULL, 429, "rejected-saturated"),
        (ShedReason.QUEUE_TIMEOUT, 503, "rejected-ttl-expired"),
    ],
)
def test_a_shed_request_is_told_why_and_when_to_come_back(
    path: str, shape_keys: set[str], reason: ShedReason, status: int, llmd: str
) -> None:
    session = a_session(BUFFERED)
    session.receive(RequestHeaders(CHAT | {":path": path}))
    session.receive(RequestBody(BODY))
    [refusal] = session.resume(Shed("r", reason, retry_after_s=1.2))
    assert isinstance(refusal, Immediate)
    assert refusal.status == status
    headers = dict(refusal.headers)
    assert headers["x-headway-dropped-reason"] == reason
    assert headers["x-llm-d-request-dropped-reason"] == llmd
    assert headers["retry-after"] == "2"
    body = orjson.loads(refusal.body)
    assert body.keys() == shape_keys
    assert body["error"]["message"]


def test_where_waiting_does_not_help_no_time_is_named() -> None:
    session = a_session(BUFFERED)
    session.receive(HEADERS)
    session.receive(RequestBody(BODY))
    [refusal] = session.resume(Shed("r", ShedReason.UNKNOWN_MODEL))
    assert isinstance(refusal, Immediate)
    assert "retry-after" not in dict(refusal.headers)
    assert orjson.loads(refusal.body) == {
        "error": {
            "message": "the model 'm' does not exist",
            "type": "invalid_request_error",
            "param": "model",
            "code": "unknown-model",
        }
    }


def test_a_made_up_name_is_not_repeated_at_length() -> None:
    session = a_session(BUFFERED)
    session.receive(HEADERS)
    session.receive(RequestBody(BODY.replace(b'"m"', b'"' + b"m" * 100_000 + b'"')))
    [refusal] = session.resume(Shed("r", ShedReason.UNKNOWN_MODEL))
    assert isinstance(refusal, Immediate) and len(refusal.body) < 1000


def test_a_request_without_a_model_is_told_that_it_has_none() -> None:
    session = a_session(BUFFERED)
    session.receive(RequestHeaders({":method": "GET", ":path": "/version"}, end_of_stream=True))
    [refusal] = session.resume(Shed("r", ShedReason.UNKNOWN_MODEL))
    assert isinstance(refusal, Immediate) and b"names no model" in refusal.body


def test_a_prompt_without_a_body_is_refused() -> None:
    [refusal] = a_session(BUFFERED).receive(RequestHeaders(CHAT, end_of_stream=True))
    assert isinstance(refusal, Immediate)
    assert (refusal.status, refusal.rejected) == (400, RejectReason.EMPTY_BODY)


def test_the_router_lists_the_models_itself() -> None:
    get = RequestHeaders({":method": "GET", ":path": "/v1/models"}, end_of_stream=True)
    session = a_session(BUFFERED)
    [answer] = session.receive(get)
    assert isinstance(answer, Immediate) and answer.status == 200
    models = {m["id"]: m for m in orjson.loads(answer.body)["data"]}
    assert list(models) == ["m", "alias", "sql"]
    assert models["sql"]["parent"] == "m"
    assert models["alias"]["parent"] is None and models["alias"]["root"] == "m"
    assert session.close() == []
