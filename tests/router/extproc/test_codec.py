"""What a gateway's protobufs mean, and that it reads our answers as they are meant."""

import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from edge import gateway
from headway_router.errors import ProtocolViolation
from headway_router.extproc import wire
from headway_router.extproc.codec import decode, encode
from headway_router.extproc.headers import REMOVED, REMOVED_WITH_PRIORITY
from headway_router.extproc.messages import (
    BodyMode,
    Continue,
    Immediate,
    Part,
    ProtocolConfig,
    ReplaceBody,
    Reply,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    Route,
    StreamedChunk,
    Target,
    Upstream,
)


def read(reply: Reply) -> pb.ProcessingResponse:
    return pb.ProcessingResponse.FromString(encode(reply))


def message_of(request: pb.ProcessingRequest) -> object:
    return decode(request.SerializeToString()).message


@given(body=st.binary(max_size=300), repeat=st.integers(0, 400), ends=st.booleans())
def test_a_body_is_read_whatever_its_size(body: bytes, repeat: int, ends: bool) -> None:
    body = body * repeat
    sent = pb.ProcessingRequest(request_body=pb.HttpBody(body=body, end_of_stream=ends))
    assert message_of(sent) == RequestBody(body, ends)


SHORT = pb.ProcessingRequest(request_body=pb.HttpBody(body=b"abc", end_of_stream=True))


@given(st.binary(max_size=12) | st.integers(0, 255).flatmap(lambda b: damaged(b)))
def test_a_body_read_without_the_full_parser_is_what_that_one_reads(data: bytes) -> None:
    if (found := wire.request_body(data)) is not None:
        parsed = pb.ProcessingRequest.FromString(data)
        assert parsed.WhichOneof("request") == "request_body"
        assert found == (parsed.request_body.body, parsed.request_body.end_of_stream)


def damaged(byte: int) -> st.SearchStrategy[bytes]:
    """A short message with one byte changed, added or cut off."""
    whole: bytes = SHORT.SerializeToString()
    return st.integers(0, len(whole)).flatmap(
        lambda at: st.sampled_from(
            [
                whole[:at],
                whole[:at] + bytes([byte]) + whole[at:],
                whole[:at] + bytes([byte]) + whole[at + 1 :],
            ]
        )
    )


@pytest.mark.parametrize("part", Part)
def test_a_part_that_passes_is_answered_by_its_name(part: Part) -> None:
    answer = read(Continue(part))
    assert answer.WhichOneof("response") == part
    assert not getattr(answer, part).ListFields()


@given(
    part=st.sampled_from([Part.REQUEST_HEADERS, Part.REQUEST_BODY]),
    destination=st.text(),
    pool=st.text(),
    request_id=st.text(),
    priority=st.none() | st.integers(-(2**31), 2**31),
    body=st.none() | st.binary(max_size=20_000),
    length=st.none() | st.integers(0, 2**40),
)
def test_an_answer_with_a_destination_reads_as_it_was_written(
    part: Part,
    destination: str,
    pool: str,
    request_id: str,
    priority: int | None,
    body: bytes | None,
    length: int | None,
) -> None:
    target = Target(destination, pool, priority)
    answer = read(Route(part, target, request_id, body, length))
    expected = {
        "x-gateway-destination-endpoint": destination,
        "x-headway-pool": pool,
        "x-session-id": request_id,
    }
    if priority is not None:
        expected["x-vllm-priority"] = str(priority)
    if length is not None:
        expected["content-length"] = str(length)
    assert answer.WhichOneof("response") == part
    assert gateway.headers_set(answer) == expected
    assert gateway.destination(answer) == destination
    assert gateway.common(answer).clear_route_cache
    mutation = gateway.common(answer).body_mutation
    assert mutation.WhichOneof("mutation") == (None if body is None else "body")
    assert mutation.body == (body or b"")


def test_headers_are_overwritten_and_spoofed_ones_removed() -> None:
    answer = read(Route(Part.REQUEST_BODY, Target("a:1", "p"), "r"))
    actions = {o.append_action for o in gateway.common(answer).header_mutation.set_headers}
    assert actions == {2}  # OVERWRITE_IF_EXISTS_OR_ADD
    removed = gateway.common(answer).header_mutation.remove_headers
    assert tuple(removed) == REMOVED_WITH_PRIORITY
    assert not set(removed) & gateway.headers_set(answer).keys()


def test_a_priority_of_the_policy_is_set_and_not_removed() -> None:
    answer = read(Route(Part.REQUEST_BODY, Target("a:1", "p", vllm_priority=0), "r"))
    assert gateway.headers_set(answer)["x-vllm-priority"] == "0"
    assert tuple(gateway.common(answer).header_mutation.remove_headers) == REMOVED


@pytest.mark.parametrize("part", [Part.REQUEST_BODY, Part.RESPONSE_BODY])
@pytest.mark.parametrize(("body", "end"), [(b"x", False), (b"", True)])
def test_streamed_chunks_are_streamed_responses(part: Part, body: bytes, end: bool) -> None:
    answer = read(StreamedChunk(part, body, end))
    assert answer.WhichOneof("response") == part
    streamed = gateway.common(answer).body_mutation.streamed_response
    assert gateway.common(answer).body_mutation.WhichOneof("mutation") == "streamed_response"
    assert (streamed.body, streamed.end_of_stream) == (body, end)


def test_a_chunk_is_replaced_or_cleared() -> None:
    assert gateway.common(read(ReplaceBody(b"x"))).body_mutation.body == b"x"
    assert gateway.common(read(ReplaceBody(b""))).body_mutation.clear_body


def test_an_immediate_answer_has_status_headers_and_body() -> None:
    reply = Immediate(status=429, body=b"{}", headers=(("retry-after", "3"),), details="why")
    answer = read(reply).immediate_response
    assert (answer.status.code, answer.body, answer.details) == (429, b"{}", "why")
    assert gateway.immediate_headers(read(reply)) == {"retry-after": "3"}


def test_headers_are_lower_case_and_raw_values_win() -> None:
    request = pb.ProcessingRequest()
    for key, value, raw in [
        (":path", "/v1/models", b""),
        ("X-Request-Id", "ignored", b"abc"),
        ("x-slo-ttft-ms", "1", b""),
        ("x-slo-ttft-ms", "2", b""),
        ("x-unread", "", b"\xff"),
        ("content-type", "", b"\xff"),
    ]:
        header = request.request_headers.headers.headers.add()
        header.key, header.value, header.raw_value = key, value, raw
    assert message_of(request) == RequestHeaders(
        {
            ":path": "/v1/models",
            "x-request-id": "abc",
            "x-slo-ttft-ms": "1, 2",
            "content-type": "\N{REPLACEMENT CHARACTER}",
        }
    )


def test_every_part_is_understood() -> None:
    assert message_of(gateway.body(b"x", end_of_stream=False)) == RequestBody(b"x", False)
    assert message_of(gateway.trailers()) == RequestTrailers()
    assert message_of(gateway.response_headers("503")) == ResponseHeaders(503)
    assert message_of(gateway.response_headers("odd")) == ResponseHeaders(None)
    assert message_of(gateway.response_body(b"x", end_of_stream=True)) == ResponseBody(b"x", True)
    trailers = pb.ProcessingRequest(response_trailers=pb.HttpTrailers())
    assert message_of(trailers) == ResponseTrailers()


def test_a_tap_says_who_responds() -> None:
    received = decode(gateway.tap_chunk(request_id="r").SerializeToString())
    upstream = Upstream(request_id="r", endpoint_id="10.0.0.1:8000", status=200)
    assert received.message == ResponseBody(b"data: {}\n\n", False, upstream)
    assert received.is_observed


def test_what_a_tap_does_not_say_is_unknown() -> None:
    request = gateway.response_body(b"x")
    request.attributes["envoy.filters.http.ext_proc"].update({})
    assert message_of(request) == ResponseBody(b"x", False, Upstream())


def test_the_first_message_says_how_bodies_come() -> None:
    request = gateway.configured(
        gateway.headers(), BodyMode.STREAMED, BodyMode.BUFFERED, early=True
    )
    assert decode(request.SerializeToString()).config == ProtocolConfig(
        request_body_mode=BodyMode.STREAMED,
        response_body_mode=BodyMode.BUFFERED,
        sends_body_early=True,
    )


def test_a_gateway_that_does_not_say_so_streams_in_full_duplex() -> None:
    assert decode(gateway.headers().SerializeToString()).config is None
    assert ProtocolConfig().request_body_mode is BodyMode.FULL_DUPLEX_STREAMED


@pytest.mark.parametrize("data", [b"\xff", b"", b"\x12\xff"])
def test_what_is_no_message_is_a_violation(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        decode(data)


def test_a_mode_of_a_later_protocol_is_a_violation() -> None:
    request = gateway.headers()
    request.protocol_config.request_body_mode = 17
    with pytest.raises(ProtocolViolation, match="17"):
        decode(request.SerializeToString())


@pytest.mark.parametrize(
    ("sent", "understood"),
    [
        pytest.param(None, None, id="none"),
        pytest.param(["10.0.0.1:8000", "b:1"], ("10.0.0.1:8000", "b:1"), id="a list"),
        pytest.param("10.0.0.1:8000, b:1", ("10.0.0.1:8000", "b:1"), id="a string with commas"),
        pytest.param("10.0.0.1", ("10.0.0.1",), id="an address without a port"),
        pytest.param([], (), id="an empty list"),
        pytest.param("", (), id="an empty string"),
    ],
)
@pytest.mark.parametrize("build", [gateway.headers, gateway.body], ids=["headers", "body"])
def test_a_subset_comes_in_three_forms_on_either_message(
    build: object, sent: list[str] | str | None, understood: tuple[str, ...] | None
) -> None:
    assert callable(build)
    message = message_of(build(subset=sent))
    assert isinstance(message, RequestHeaders | RequestBody)
    assert message.subset == understood


@pytest.mark.parametrize("value", [None, 5, {"a": 1}, [1, 2]])
def test_a_subset_that_is_not_understood_allows_nothing(value: object) -> None:
    request = gateway.headers()
    hint = struct_pb2.Struct()
    hint.update({"x-gateway-destination-endpoint-subset": value})
    request.metadata_context.filter_metadata["envoy.lb.subset_hint"].CopyFrom(hint)
    message = message_of(request)
    assert isinstance(message, RequestHeaders)
    assert message.subset == ()


def test_other_metadata_is_no_subset() -> None:
    request = gateway.headers()
    request.metadata_context.filter_metadata["envoy.lb"].update({"a": "b"})
    message = message_of(request)
    assert isinstance(message, RequestHeaders)
    assert message.subset is None


@given(st.binary(max_size=300))
def test_no_bytes_break_the_decoder(data: bytes) -> None:
    try:
        received = decode(data)
    except ProtocolViolation:
        return
    assert received.message is not None
