"""Laws that hold for every sequence of messages and every body: nothing breaks, nothing leaks."""

from collections.abc import Sequence
from itertools import pairwise

import orjson
import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import gateway
from edge.harness import Edge, a_pool
from headway_core.policy import Fleet, FlowControl, Policy
from headway_router.errors import RequestRejected
from headway_router.extproc import refusals
from headway_router.extproc.messages import BodyMode, Immediate
from headway_router.openai.head import Head
from headway_router.openai.shapes import Shape
from headway_router.openai.stripping import ENGINE_FIELDS

pytestmark = pytest.mark.slow


def _dumped(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # an integer above 64 bits
        return b"{}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        *("model", "messages", "prompt", "input", "instructions", "system", "tools", "cache_salt"),
        *("max_tokens", "max_completion_tokens", "max_output_tokens", "vllm_xargs", *ENGINE_FIELDS),
    ]
)
PARTS = (
    st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url", "tool_result"])}) | JSON
)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.text(max_size=5) | JSON, "content": st.lists(PARTS) | JSON}),
    max_size=4,
)
VALUES = st.just("m") | MESSAGES | st.lists(st.integers()) | st.lists(st.text()) | JSON
BODIES = st.dictionaries(FIELDS, VALUES, max_size=6).map(_dumped)
RAW = BODIES | st.binary(max_size=200) | JSON.map(_dumped) | st.just(gateway.BODY)


EDGE = Edge()


def check_refusal(refusal: Immediate) -> None:
    assert 400 <= refusal.status < 500
    assert orjson.loads(refusal.body)["error"]["message"]


@settings(max_examples=2000, deadline=None)
@given(shape=st.sampled_from(Shape), raw=RAW)
def test_every_body_is_accepted_or_refused_with_a_reason(shape: Shape, raw: bytes) -> None:
    try:
        accepted = EDGE.intake.with_body("r", Head(shape=shape), None, raw)
    except RequestRejected as rejected:
        check_refusal(refusals.rejected(rejected, shape))
        return
    request = accepted.request
    assert request.prompt_tokens >= 0
    assert all(0 <= block < 2**64 for block in request.blocks)
    forwarded = (
        orjson.loads(raw if accepted.body is None else accepted.body) if raw.strip() else None
    )
    if isinstance(forwarded, dict):
        assert not forwarded.keys() & set(ENGINE_FIELDS)


MODES = st.sampled_from(BodyMode)
PATHS = st.sampled_from([gateway.CHAT, "/v1/completions", "/v1/messages", "/v1/models", "/x", ""])
SUBSETS = st.none() | st.sampled_from(["10.0.0.1:8000", "10.0.0.1", ["10.0.0.2:8000"], [], "?"])
PIECES = st.just(gateway.BODY) | st.sampled_from(
    [gateway.BODY[:9], gateway.BODY[9:], b"", b"{", b" " * 3000]
)
MESSAGE = st.one_of(
    st.builds(
        gateway.headers,
        PATHS,
        method=st.sampled_from(["POST", "GET"]),
        end_of_stream=st.booleans(),
        subset=SUBSETS,
        extra=st.dictionaries(
            st.sampled_from(["x-slo-ttft-ms", "content-length", "x-request-id"]),
            st.sampled_from(["7", "r1", "99999999999"]),
        ),
    ),
    st.builds(gateway.body, PIECES, end_of_stream=st.booleans(), subset=SUBSETS),
    st.builds(gateway.trailers),
    st.builds(gateway.response_headers, st.sampled_from(["200", "500", "x"])),
    st.builds(gateway.response_body, st.binary(max_size=5), end_of_stream=st.booleans()),
    st.builds(gateway.tap_chunk, status=st.sampled_from([200, 500]), observed=st.booleans()),
)
SEQUENCE = st.lists(MESSAGE, max_size=6)
REQUEST_FIRST = st.builds(
    lambda body, rest: [gateway.headers(), body, *rest],
    st.builds(gateway.body, end_of_stream=st.booleans(), subset=SUBSETS),
    SEQUENCE,
)
STREAM = st.tuples(
    st.sampled_from(["", "r1", "r2"]), MODES, MODES, st.booleans(), SEQUENCE | REQUEST_FIRST
)
NARROW = Policy(flow_control=FlowControl(max_queued_requests=2, queue_timeout_s=1.0))


@settings(max_examples=1500, deadline=None)
@given(streams=st.lists(STREAM, min_size=1, max_size=4), empties=st.booleans())
def test_whatever_a_gateway_sends_no_lease_stays(
    streams: list[tuple[str, BodyMode, BodyMode, bool, Sequence[pb.ProcessingRequest]]],
    empties: bool,
) -> None:
    """Streams in parallel, on an edge that holds requests, with time and fleets moving on."""
    edge = Edge(a_pool(policy=NARROW, prefill_tokens_per_s=10.0), max_body_bytes=2000)
    opened = [edge.stream(request_id) for request_id, *_ in streams]
    for step in range(8):
        for stream, (_, request, response, early, messages) in zip(opened, streams, strict=True):
            if step < len(messages) and not stream.exchange.is_over:
                message = messages[step]
                if step == 0:
                    message = gateway.configured(message, request, response, early=early)
                stream.send(message)
        edge.clock.now_s += 0.5
        if step == 3:
            edge.dispatcher.apply(Fleet() if empties else edge.core.fleet)
        edge.dispatcher.tick()
    assert edge.core.held + edge.core.leases_outstanding <= len(opened)
    for stream in opened:
        stream.close()
    assert edge.is_idle


@settings(max_examples=500, deadline=None)
@given(
    cuts=st.lists(st.integers(0, len(gateway.BODY)), max_size=5), mode=MODES, early=st.booleans()
)
def test_a_body_reaches_the_engine_whole_however_it_was_cut(
    cuts: list[int], mode: BodyMode, early: bool
) -> None:
    edge = Edge()
    stream = edge.stream("r")
    answers = stream.send(configured_headers(mode, early=early))
    if mode in (BodyMode.BUFFERED, BodyMode.BUFFERED_PARTIAL, BodyMode.NONE):
        cuts = []
    edges = [0, *sorted(cuts), len(gateway.BODY)]
    chunks = [gateway.BODY[a:b] for a, b in pairwise(edges)]
    for i, chunk in enumerate(chunks):
        answers += stream.send(gateway.body(chunk, end_of_stream=i == len(chunks) - 1))
    assert _forwarded(chunks, answers, mode) == gateway.BODY
    routes = [a for a in answers if gateway.common(a).HasField("header_mutation")]
    assert len(routes) == 1
    stream.close()
    assert edge.is_idle


def configured_headers(mode: BodyMode, *, early: bool) -> pb.ProcessingRequest:
    return gateway.configured(gateway.headers(), mode, early=early)


def _forwarded(
    chunks: Sequence[bytes], answers: Sequence[pb.ProcessingResponse], mode: BodyMode
) -> bytes:
    """What a gateway sends on: chunks as the answers to them say, or what was streamed back."""
    on_bodies = [a for a in answers if gateway.kind(a) == "request_body"]
    mutations = [gateway.common(a).body_mutation for a in on_bodies]
    if mode is BodyMode.FULL_DUPLEX_STREAMED:
        return b"".join(m.streamed_response.body for m in mutations)
    if mode is BodyMode.NONE:
        return b"".join(chunks)
    passed = []
    for chunk, mutation in zip(chunks, mutations, strict=True):
        match mutation.WhichOneof("mutation"):
            case "body":
                passed.append(mutation.body)
            case "clear_body":
                passed.append(b"")
            case None:
                passed.append(chunk)
    return b"".join(passed)
