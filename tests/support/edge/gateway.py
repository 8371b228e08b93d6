"""What a gateway sends, as Envoy's own protobufs, and what it reads in the answers."""

from collections.abc import Mapping, Sequence

from envoy.service.ext_proc.v3 import external_processor_pb2 as pb

from headway_router.extproc.messages import BodyMode

CHAT = "/v1/chat/completions"
BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hello"}]}'

Subset = Sequence[str] | str


def configured(
    message: pb.ProcessingRequest,
    request: BodyMode,
    response: BodyMode = BodyMode.NONE,
    *,
    early: bool = False,
) -> pb.ProcessingRequest:
    """The first message of a stream."""
    message.protocol_config.request_body_mode = request.value
    message.protocol_config.response_body_mode = response.value
    message.protocol_config.send_body_without_waiting_for_header_response = early
    return message


def headers(
    path: str = CHAT,
    *,
    method: str = "POST",
    end_of_stream: bool = False,
    subset: Subset | None = None,
    extra: Mapping[str, str] | None = None,
) -> pb.ProcessingRequest:
    sent = {":method": method, ":path": path, "content-type": "application/json"} | dict(
        extra or {}
    )
    message = pb.ProcessingRequest()
    for key, value in sent.items():
        header = message.request_headers.headers.headers.add()
        header.key = key
        header.raw_value = value.encode()
    message.request_headers.end_of_stream = end_of_stream
    return with_subset(message, subset)


def body(
    content: bytes = BODY, *, end_of_stream: bool = True, subset: Subset | None = None
) -> pb.ProcessingRequest:
    message = pb.ProcessingRequest(
        request_body=pb.HttpBody(body=content, end_of_stream=end_of_stream)
    )
    return with_subset(message, subset)


def with_subset(message: pb.ProcessingRequest, subset: Subset | None) -> pb.ProcessingRequest:
    if subset is not None:
        hint = message.metadata_context.filter_metadata["envoy.lb.subset_hint"]
        value = subset if isinstance(subset, str) else list(subset)
        hint.update({"x-gateway-destination-endpoint-subset": value})
    return message


def trailers() -> pb.ProcessingRequest:
    return pb.ProcessingRequest(request_trailers=pb.HttpTrailers())


def response_headers(status: str = "200") -> pb.ProcessingRequest:
    message = pb.ProcessingRequest()
    header = message.response_headers.headers.headers.add()
    header.key = ":status"
    header.raw_value = status.encode()
    return message


def response_body(content: bytes, *, end_of_stream: bool = False) -> pb.ProcessingRequest:
    return pb.ProcessingRequest(
        response_body=pb.HttpBody(body=content, end_of_stream=end_of_stream)
    )


def tap_chunk(
    content: bytes = b"data: {}\n\n",
    *,
    address: str = "10.0.0.1:8000",
    status: int = 200,
    request_id: str = "",
    observed: bool = True,
) -> pb.ProcessingRequest:
    message = response_body(content)
    message.observability_mode = observed
    attributes = message.attributes["envoy.filters.http.ext_proc"]
    attributes.update({"upstream.address": address, "response.code": status})
    if request_id:
        attributes.update({"request.id": request_id})
    return configured(message, BodyMode.NONE, BodyMode.STREAMED)


def kind(answer: pb.ProcessingResponse) -> str | None:
    name: str | None = answer.WhichOneof("response")
    return name


def common(answer: pb.ProcessingResponse) -> pb.CommonResponse:
    return getattr(answer, kind(answer) or "").response


def headers_set(answer: pb.ProcessingResponse) -> dict[str, str]:
    options = common(answer).header_mutation.set_headers
    return {o.header.key: o.header.raw_value.decode() for o in options}


def headers_removed(answer: pb.ProcessingResponse) -> set[str]:
    return set(common(answer).header_mutation.remove_headers)


def destination(answer: pb.ProcessingResponse) -> str:
    """In the header, and the same in the load balancer's metadata."""
    in_header = headers_set(answer)["x-gateway-destination-endpoint"]
    in_metadata = answer.dynamic_metadata["envoy.lb"]["x-gateway-destination-endpoint"]
    assert in_header == in_metadata
    return in_header


def immediate_headers(answer: pb.ProcessingResponse) -> dict[str, str]:
    options = answer.immediate_response.headers.set_headers
    return {o.header.key: o.header.raw_value.decode() for o in options}
