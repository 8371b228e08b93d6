"""Messages of a gateway, through sessions and taps, to a real core and back."""

import tracemalloc
from random import Random

import orjson
import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb

from edge import gateway
from edge.gateway import CHAT, configured, destination, headers_removed, headers_set, kind
from edge.harness import ADDRESSES, Edge, GatewayStream, a_pool
from headway_core.policy import Fleet, FlowControl, Observability, Policy, SloClass
from headway_router.errors import ProtocolViolation
from headway_router.extproc.messages import BodyMode
from headway_router.tracing import Span, Tracer

ONE_AT_A_TIME = Policy(flow_control=FlowControl(max_queued_requests=3, queue_timeout_s=30.0))
LONG = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "words " * 20_000}]})
"""30,000 tokens: as much prefill as an engine is given at a time."""


def a_busy_edge() -> Edge:
    """One endpoint, which is at work on a long prompt."""
    edge = Edge(a_pool(addresses=["10.0.0.1:8000"], policy=ONE_AT_A_TIME))
    route(edge, "first", LONG)
    return edge


def route(
    edge: Edge,
    request_id: str,
    body: bytes = gateway.BODY,
    subset: gateway.Subset | None = None,
) -> tuple[GatewayStream, list[pb.ProcessingResponse]]:
    """A BUFFERED request.  Returns its stream and the answer to its body."""
    stream = edge.stream(request_id)
    [passes] = stream.send(configured(gateway.headers(subset=subset), BodyMode.BUFFERED))
    assert kind(passes) == "request_headers"
    return stream, stream.send(gateway.body(body))


def test_a_request_is_placed_and_its_end_returns_the_lease() -> None:
    edge = Edge()
    stream, [answer] = route(edge, "r1")
    first, second = destination(answer).split(",")
    assert {first, second} == set(ADDRESSES)
    assert headers_set(answer)["x-headway-pool"] == "default/m"
    assert headers_set(answer)["x-session-id"] == "r1"
    assert edge.core.leases_outstanding == 1
    stream.close()
    stream.close()
    assert edge.is_idle
    assert edge.count("headway_requests_total", pool="default/m", outcome="placed") == 1


@pytest.mark.parametrize(
    "header",
    [
        "x-gateway-destination-endpoint",
        "x-gateway-destination-endpoint-subset",
        "x-gateway-destination-endpoint-served",
        "x-prefiller-host-port",
        "x-encoder-hosts-ports",
        "x-data-parallel-host-port",
        "x-kv-cache-source-host-port",
        "x-vllm-priority",
        "x-data-parallel-rank",
        "endpoint-load-metrics-format",
        "x-session-id",
        "x-headway-pool",
    ],
)
@pytest.mark.parametrize("mode", [BodyMode.BUFFERED, BodyMode.FULL_DUPLEX_STREAMED, BodyMode.NONE])
def test_no_control_header_of_a_client_survives(header: str, mode: BodyMode) -> None:
    stream = Edge().stream()
    answers = stream.send(configured(gateway.headers(extra={header: "spoofed"}), mode))
    if mode is not BodyMode.NONE:
        answers += stream.send(gateway.body())
    answer = next(a for a in answers if gateway.common(a).HasField("header_mutation"))
    assert header in headers_removed(answer) | headers_set(answer).keys()
    assert headers_set(answer).get(header) != "spoofed"


@pytest.mark.parametrize("mode", [BodyMode.BUFFERED, BodyMode.FULL_DUPLEX_STREAMED, BodyMode.NONE])
@pytest.mark.parametrize("is_sampled", [True, False])
def test_the_engine_is_told_of_a_span_and_else_gets_the_clients(
    mode: BodyMode, is_sampled: bool
) -> None:
    edge, spans = Edge(), list[Span]()
    edge.processor.tracer = Tracer(edge.core, Random(0), spans.append)
    trace = 32 * "a"
    sent = {"traceparent": f"00-{trace}-{16 * 'b'}-0{int(is_sampled)}"}
    stream = edge.stream("request-1")
    answers = stream.send(configured(gateway.headers(extra=sent), mode))
    if mode is not BodyMode.NONE:
        answers += stream.send(gateway.body())
    answer = next(a for a in answers if gateway.common(a).HasField("header_mutation"))
    told = headers_set(answer).get("traceparent")
    assert "traceparent" not in headers_removed(answer)
    stream.close()
    assert told == (f"00-{trace}-{spans[0].span_id}-01" if is_sampled else None)
    assert len(spans) == is_sampled


@pytest.mark.parametrize("shows", [True, False])
def test_what_the_client_may_see_is_in_the_metadata(shows: bool) -> None:
    policy = Policy(observability=Observability(response_header=shows))
    edge = Edge(a_pool(addresses=["10.0.0.1:8000"], policy=policy))
    _, [answer] = route(edge, "r1")
    fields = answer.dynamic_metadata["envoy.lb"]
    seen = "least-backlog; endpoint=10.0.0.1:8000; pool=default/m" if shows else None
    assert fields["x-gateway-destination-endpoint"] == "10.0.0.1:8000"
    assert dict(fields.items()).get("x-headway-decision") == seen


def test_the_priority_of_a_class_is_the_policys() -> None:
    gold = SloClass(name="gold", vllm_priority=-5)
    edge = Edge(a_pool(policy=Policy(slo_classes=(gold,))))
    stream = edge.stream()
    sent = gateway.headers(extra={"x-llm-d-inference-objective": "gold", "x-vllm-priority": "-9"})
    stream.send(configured(sent, BodyMode.BUFFERED))
    [answer] = stream.send(gateway.body())
    assert headers_set(answer)["x-vllm-priority"] == "-5"


@pytest.mark.parametrize("subset", [["10.0.0.2:8000"], "10.0.0.2:8000", "10.0.0.2"])
@pytest.mark.parametrize("on_body", [False, True])
def test_only_the_gateways_subset_is_chosen_from(subset: list[str] | str, on_body: bool) -> None:
    edge = Edge()
    for i in range(8):
        stream = edge.stream(f"r{i}")
        first = gateway.headers(subset=None if on_body else subset)
        stream.send(configured(first, BodyMode.BUFFERED))
        [answer] = stream.send(gateway.body(subset=subset if on_body else None))
        assert destination(answer) == "10.0.0.2:8000"


@pytest.mark.parametrize("subset", [[], "", ["10.0.0.1:9999"], ["10.9.9.9"], "nonsense"])
def test_a_subset_without_an_endpoint_is_a_503(subset: list[str] | str) -> None:
    edge = Edge()
    stream, [answer] = route(edge, "r", subset=subset)
    assert answer.immediate_response.status.code == 503
    assert gateway.immediate_headers(answer)["x-headway-dropped-reason"] == "empty-subset"
    assert stream.exchange.is_over
    stream.close()
    assert edge.is_idle


def test_two_requests_with_one_id_are_two_requests() -> None:
    edge = Edge()
    one, [first] = route(edge, "same")
    two, [second] = route(edge, "same")
    assert headers_set(first)["x-session-id"] == "same"
    assert headers_set(second)["x-session-id"] != "same"
    assert edge.core.leases_outstanding == 2
    two.close()
    assert edge.core.leases_outstanding == 1
    one.close()
    assert edge.is_idle


def test_pools_are_told_apart_by_the_model() -> None:
    edge = Edge(a_pool(), a_pool("default/other", "other", addresses=["10.0.1.1:8000"]))
    _, [answer] = route(edge, "r", gateway.BODY.replace(b'"m"', b'"other"'))
    assert headers_set(answer)["x-headway-pool"] == "default/other"
    _, [unknown] = route(edge, "r2", gateway.BODY.replace(b'"m"', b'"nobody"'))
    assert unknown.immediate_response.status.code == 404


def test_bad_input_is_counted_by_reason() -> None:
    edge = Edge()
    stream, [answer] = route(edge, "r", b"{")
    assert answer.immediate_response.status.code == 400
    assert orjson.loads(answer.immediate_response.body)["error"]["code"] == "malformed-json"
    assert edge.count("headway_rejected_total", reason="malformed-json") == 1
    stream.close()
    assert edge.count("headway_requests_total", pool="", outcome="cancelled") == 0


def test_models_are_answered_and_counted() -> None:
    edge = Edge()
    get = gateway.headers("/v1/models", method="GET", end_of_stream=True)
    [answer] = edge.stream().send(configured(get, BodyMode.BUFFERED))
    assert answer.immediate_response.status.code == 200
    assert gateway.immediate_headers(answer)["content-type"] == "application/json"
    assert edge.count("headway_requests_total", pool="", outcome="answered") == 1


def test_a_held_request_is_answered_when_the_engine_is_free() -> None:
    edge = a_busy_edge()
    second, answers = route(edge, "second", LONG)
    assert answers == [] and second.exchange.is_waiting and edge.core.held == 1
    tap = edge.stream("first")
    tap.send(gateway.tap_chunk())
    [answer] = second.late
    assert destination(answer) == "10.0.0.1:8000"
    assert not second.exchange.is_waiting
    second.close()
    assert edge.core.leases_outstanding == 1


def test_a_client_that_leaves_while_held_costs_nothing() -> None:
    edge = a_busy_edge()
    second, _ = route(edge, "second", LONG)
    second.close()
    assert edge.core.held == 0 and edge.core.leases_outstanding == 1
    assert second.late == []
    assert edge.count("headway_requests_total", pool="default/m", outcome="cancelled") == 1


def test_a_full_queue_is_a_429() -> None:
    edge = a_busy_edge()
    for i in range(3):
        route(edge, f"held{i}", LONG)
    _, [refusal] = route(edge, "one too many", LONG)
    assert refusal.immediate_response.status.code == 429
    assert gateway.immediate_headers(refusal)["x-headway-dropped-reason"] == "queue-full"


def test_an_empty_fleet_sheds_what_is_held() -> None:
    edge = a_busy_edge()
    second, _ = route(edge, "second", LONG)
    edge.dispatcher.apply(Fleet())
    [refusal] = second.late
    assert refusal.immediate_response.status.code == 503
    assert second.exchange.is_over
    second.close()
    assert edge.core.held == 0


def test_the_first_token_is_matched_by_the_streams_metadata() -> None:
    edge = Edge()
    stream, _ = route(edge, "r")
    edge.clock.now_s += 0.25
    tap = edge.stream("r")
    assert tap.send(gateway.tap_chunk()) == []
    assert tap.exchange.is_over
    tap.close()
    assert edge.count("headway_first_tokens_total", outcome="matched") == 1
    assert edge.count("headway_ttft_seconds_sum", pool="default/m") == pytest.approx(0.25)
    stream.close()
    assert edge.is_idle


def test_without_metadata_it_is_matched_by_the_gateways_attribute() -> None:
    edge = Edge()
    stream = edge.stream()
    first = gateway.headers(extra={"x-request-id": "r"})
    stream.send(configured(first, BodyMode.BUFFERED))
    stream.send(gateway.body())
    edge.stream("-").send(gateway.tap_chunk(request_id="r"))
    assert edge.count("headway_first_tokens_total", outcome="matched") == 1


def test_a_tap_that_the_gateway_waits_for_is_answered() -> None:
    edge = Edge()
    [answer] = edge.stream("r").send(gateway.tap_chunk(observed=False))
    assert kind(answer) == "response_body"


def test_headers_of_a_response_are_not_its_first_token() -> None:
    edge = Edge()
    route(edge, "r")
    tap = edge.stream("r")
    assert tap.send(configured(gateway.response_headers(), BodyMode.NONE)) != []
    assert not tap.exchange.is_over
    tap.send(gateway.tap_chunk(b""))
    assert not tap.exchange.is_over
    tap.send(gateway.tap_chunk())
    assert tap.exchange.is_over
    assert edge.count("headway_first_tokens_total", outcome="matched") == 1


def test_a_first_token_of_nobody_is_counted_and_ignored() -> None:
    edge = Edge()
    edge.stream("unknown").send(gateway.tap_chunk())
    edge.stream().send(gateway.tap_chunk())
    edge.stream("unknown").send(gateway.tap_chunk(status=500))
    assert edge.count("headway_first_tokens_total", outcome="unknown") == 3


def test_an_engines_error_is_no_first_token_and_ends_the_charge() -> None:
    edge = Edge()
    stream, _ = route(edge, "r")
    tap = edge.stream("r")
    tap.send(gateway.tap_chunk(status=503))
    tap.close()
    assert edge.core.leases_outstanding == 0
    assert edge.count("headway_first_tokens_total", outcome="matched") == 0
    other, [answer] = route(edge, "r")
    assert headers_set(answer)["x-session-id"] != "r"
    stream.close()
    assert edge.core.leases_outstanding == 1
    other.close()
    assert edge.is_idle


def test_the_charge_follows_the_address_that_responds() -> None:
    edge = Edge()
    _, [answer] = route(edge, "r")
    fallback = destination(answer).split(",")[1]
    edge.stream("r").send(gateway.tap_chunk(address=fallback))
    assert edge.count("headway_fallbacks_total", pool="default/m") == 1


def test_a_client_that_leaves_before_its_body_is_counted() -> None:
    edge = Edge()
    stream = edge.stream("r")
    stream.send(configured(gateway.headers(CHAT), BodyMode.BUFFERED))
    stream.close()
    assert edge.count("headway_requests_total", pool="", outcome="cancelled") == 1
    assert edge.is_idle


def test_what_is_no_message_leaves_nothing_behind() -> None:
    edge = Edge()
    stream = edge.stream("r")
    with pytest.raises(ProtocolViolation):
        stream.exchange.receive(b"\xff")
    stream.close()
    assert edge.is_idle


@pytest.mark.parametrize(
    ("mode", "early"),
    [
        (BodyMode.BUFFERED, False),
        (BodyMode.FULL_DUPLEX_STREAMED, False),
        (BodyMode.STREAMED, False),
        (BodyMode.STREAMED, True),
    ],
)
def test_a_routed_request_does_not_keep_its_body(mode: BodyMode, early: bool) -> None:
    """A response takes minutes, and thousands are under way."""
    edge = Edge()
    content = gateway.BODY + b" " * 1_000_000
    streams = []
    tracemalloc.start()
    try:
        for i in range(20):
            streams.append(stream := edge.stream(f"r{i}"))
            first = configured(gateway.headers(), mode, early=early)
            answers = stream.send(first) + stream.send(gateway.body(content))
            assert any(gateway.common(a).HasField("header_mutation") for a in answers)
            del answers
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 * len(content)


def test_a_held_request_keeps_no_body_that_the_gateway_keeps() -> None:
    edge = a_busy_edge()
    tracemalloc.start()
    try:
        streams = [route(edge, f"r{i}", LONG + b" " * 1_000_000) for i in range(3)]
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert edge.core.held == len(streams)
    assert kept < 1_000_000
